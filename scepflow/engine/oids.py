"""Object identifiers of SCEP, CMS and the algorithms they name.

Must never hold: anything but names for numbers.
"""

from __future__ import annotations

from cryptography.x509 import ObjectIdentifier as Oid

# CMS content types (RFC 5652 §4 Data Content Type, §5, §6)
DATA = Oid("1.2.840.113549.1.7.1")
SIGNED_DATA = Oid("1.2.840.113549.1.7.2")
ENVELOPED_DATA = Oid("1.2.840.113549.1.7.3")

# CMS attributes (RFC 5652 §11 Useful Attributes)
CONTENT_TYPE = Oid("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = Oid("1.2.840.113549.1.9.4")
SIGNING_TIME = Oid("1.2.840.113549.1.9.5")

# SCEP attributes (RFC 8894 §3.2.1 Signed Transaction Attributes)
MESSAGE_TYPE = Oid("2.16.840.1.113733.1.9.2")
PKI_STATUS = Oid("2.16.840.1.113733.1.9.3")
FAIL_INFO = Oid("2.16.840.1.113733.1.9.4")
SENDER_NONCE = Oid("2.16.840.1.113733.1.9.5")
RECIPIENT_NONCE = Oid("2.16.840.1.113733.1.9.6")
TRANSACTION_ID = Oid("2.16.840.1.113733.1.9.7")
FAIL_INFO_TEXT = Oid("1.3.6.1.5.5.7.24.1")

# What NDES adds to a FAILURE: an HRESULT in decimal digits
MICROSOFT_ERROR = Oid("1.3.6.1.4.1.311.21.33")

# Extended key usages of an RA (RFC 6402 §2.10; the first is Microsoft's Certificate Request Agent)
RA_PURPOSES = (Oid("1.3.6.1.4.1.311.20.2.1"), Oid("1.3.6.1.5.5.7.3.28"))
ANY_PURPOSE = Oid("2.5.29.37.0")  # RFC 5280 §4.2.1.12: limits nothing, and is in many a client's certificate

# PKCS#9 attribute of a certification request (RFC 2985 §5.4.1 Challenge password)
CHALLENGE_PASSWORD = Oid("1.2.840.113549.1.9.7")

# Digests
MD5 = Oid("1.2.840.113549.2.5")
SHA1 = Oid("1.3.14.3.2.26")
SHA224 = Oid("2.16.840.1.101.3.4.2.4")
SHA256 = Oid("2.16.840.1.101.3.4.2.1")
SHA384 = Oid("2.16.840.1.101.3.4.2.2")
SHA512 = Oid("2.16.840.1.101.3.4.2.3")

# Signatures and key transport
RSA_ENCRYPTION = Oid("1.2.840.113549.1.1.1")
MD5_WITH_RSA = Oid("1.2.840.113549.1.1.4")
SHA1_WITH_RSA = Oid("1.2.840.113549.1.1.5")
SHA224_WITH_RSA = Oid("1.2.840.113549.1.1.14")
SHA256_WITH_RSA = Oid("1.2.840.113549.1.1.11")
SHA384_WITH_RSA = Oid("1.2.840.113549.1.1.12")
SHA512_WITH_RSA = Oid("1.2.840.113549.1.1.13")
RSAES_OAEP = Oid("1.2.840.113549.1.1.7")
MGF1 = Oid("1.2.840.113549.1.1.8")
RSASSA_PSS = Oid("1.2.840.113549.1.1.10")
ECDSA_WITH_SHA1 = Oid("1.2.840.10045.4.1")
ECDSA_WITH_SHA224 = Oid("1.2.840.10045.4.3.1")
ECDSA_WITH_SHA256 = Oid("1.2.840.10045.4.3.2")
ECDSA_WITH_SHA384 = Oid("1.2.840.10045.4.3.3")
ECDSA_WITH_SHA512 = Oid("1.2.840.10045.4.3.4")

# Content ciphers
DES_CBC = Oid("1.3.14.3.2.7")
DES_EDE3_CBC = Oid("1.2.840.113549.3.7")
BLOWFISH_CBC = Oid("1.3.6.1.4.1.3029.1.2")
AES128_CBC = Oid("2.16.840.1.101.3.4.1.2")
AES192_CBC = Oid("2.16.840.1.101.3.4.1.22")
AES256_CBC = Oid("2.16.840.1.101.3.4.1.42")

# Password recipients (RFC 8018 §5.2 PBKDF2, RFC 3211 §2.3.1 Key Wrap)
PBKDF2 = Oid("1.2.840.113549.1.5.12")
HMAC_SHA1 = Oid("1.2.840.113549.2.7")
HMAC_SHA256 = Oid("1.2.840.113549.2.9")
HMAC_SHA384 = Oid("1.2.840.113549.2.10")
HMAC_SHA512 = Oid("1.2.840.113549.2.11")
PWRI_KEK = Oid("1.2.840.113549.1.9.16.3.9")
