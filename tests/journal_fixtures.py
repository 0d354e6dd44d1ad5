"""Records of the journal for tests that need no journal."""

from datetime import timedelta

from scepflow.records import AttemptRecord, CertificateFacts, DeliveryRecord, PipelineRecord
from scepflow.testing import NOW

FACTS = CertificateFacts(
    subject="CN=gw1",
    issuer="CN=CA",
    serial="1f",
    fingerprint="sha256:00",
    not_before=NOW - timedelta(days=1),
    not_after=NOW + timedelta(days=364),
)
ATTEMPT = AttemptRecord(
    transaction_id="t1",
    purpose="enrollment",
    status="issued",
    begun_at=NOW,
    asked_at=NOW,
    polls=0,
    pending=False,
    message_type="PKCSReq",
    certificate=FACTS,
)
RECORD = PipelineRecord(
    place="gw1-00000000",
    name="gw1",
    file="/etc/gw1.toml",
    current=ATTEMPT,
    renew_at=NOW + timedelta(days=240),
    open=None,
    deliveries={"file": DeliveryRecord(sink="file", options="", at=NOW, error=None, tries=1)},
    outcome="issued",
    exit_code=0,
    message="",
    hint="",
    ended_at=NOW,
    refused=None,
)
