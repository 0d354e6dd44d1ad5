"""TOML text to a pipeline."""
