"""What a CA offers, and what a run against it would do, without asking it for anything.

GetCACaps and GetCACert are all that is sent. Must never hold: a PKIOperation, or
trust in what came; whoever reads the answer compares it with what the CA's operator says.
"""

from scepflow.doctor.examination import Diagnosis, examine_pipeline, examine_url

__all__ = ["Diagnosis", "examine_pipeline", "examine_url"]
