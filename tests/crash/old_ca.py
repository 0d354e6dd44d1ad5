"""``scepflow testca`` as an old server would be: it promises renewals and refuses RenewalReq.

Started as a program, with testca's arguments. Must never hold: anything else that testca does not.
"""

from __future__ import annotations

import sys

from scepflow import testca
from scepflow.cli import main
from scepflow.engine.messages import FailInfo, MessageType
from scepflow.testca import responder


class OldResponder(responder.Responder):
    """Answers RenewalReq as one answers what one does not know."""

    def _enroll(self, request, content, reply):
        if request.message_type == MessageType.RENEWAL_REQ:
            raise responder._RefusedError(FailInfo.BAD_REQUEST, "what is a RenewalReq?")
        return super()._enroll(request, content, reply)


if __name__ == "__main__":
    testca.Responder = OldResponder
    sys.argv.insert(1, "testca")
    main()
