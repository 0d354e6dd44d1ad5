"""Why what comes of an item is not what the lists propose, or not all of it; the page says it below the item."""

from __future__ import annotations

DEPARTURES: dict[str, str] = {
    "C-024": "whether another CA's certificate may renew is the CA's to say: both answers are shown. Where it may not, the "
    "request goes as a PKCSReq, with a challenge if challenge_in_renewal allows it.",
    "C-054": "7 has no meaning in RFC 8894, and is a failure like any other; it is shown as badIdentity, which Dogtag means by "
    "it. 13 has no meaning anywhere.",
    "C-116": "the RFC advises a new PKCSReq. The next run polls for the old one instead: the CA may have issued already, and a new "
    "request would spend a second challenge (Q-015). A CA that does not know the transaction gets the request again.",
    "Q-017": 'whether to enroll anew, and spend a challenge on it, is for a person to say: use = "self-signed" in [signer] does it.',
    "Q-020": "the RFC forbids single DES. Default step-ca and micromdm answer in nothing else, and refusing them would stop "
    "every client of theirs; what DES hides here is a certificate, which is public. So it is read, with a warning in each run, "
    "never sent by default, and refused by security = strict.",
    "Q-037": "an HTTP 500 is signed by nobody (S-005), so it is no rejection: exit 4, and the next run goes on. Its words are shown.",
    "Q-040": "MD5 is refused, but for security = legacy, which somebody must write into the pipeline and which warns in each run; "
    "old EJBCA has nothing better. DES is as in Q-020.",
    "Q-069": "what the label does not say is not guessed: trying one padding after another with the private key is what S-050 warns of.",
    "Q-084": "the outer signature verifies, but does not cover the certificates that stand beside it: anybody on the way could "
    "put his own there, and they would become trust anchors. So a single layer is refused.",
    "Q-085": "an identifier is an option. A bare CRL is the CA's, but nothing ties it to our question, and an older one could be "
    "sent in its place: it is refused.",
    "Q-093": "to take it, though only where its key is ours, would be a second reading of what the private key opened, and its "
    "outcome would tell how far decryption came (S-050). No server of today sends it.",
    "Q-095": "PKCS#7 1.5 has an OCTET STRING there too when the type is data; its digest leaves tag and length open, so two "
    "readings would fit one signature. It is refused even where the digest fits.",
    "Q-101": "no note: PEM says no less than DER, and what it brings is authenticated alike. A note in each run that nobody could "
    "act on would hide those that matter.",
    "Q-103": "blanks, line ends and NULs may follow. Certificates one after the other in DER are refused like any other "
    "data: nobody knows what was meant; PEM can hold several.",
    "Q-110": "single DES is read without being asked for, with a warning: see Q-020.",
    "Q-116": "the difference is told of and never refused: see S-023.",
    "S-006": "a forged FAILURE needs a signature that is believed. A client of the CA whose certificate was put into GetCACert on the "
    "way has one, unless its extended key usage says otherwise or the CA needs no RA: that is warned of in each run as "
    "ra-not-pinned, and shut out by signing_certificate.",
    "S-022": "a warning and no refusal: the key is ours and so is the harm; what a CA lets its clients do is the CA's to say.",
    "S-023": "told of and never refused: the key is ours, and CAs set subjects and names by their own rules. Names that nobody asked "
    "for are told of always, but for the common name's; usages only beside those that were asked for, since most CAs give some "
    "to whoever names none.",
    "S-026": "an EC point off its curve and an RSA exponent that is even are keys that cannot be read: such a certificate verifies nothing.",
    "S-035": "the item allows ten million iterations, which takes seconds, and more on a small device. 1.5 million take less than one, and are "
    "more than is advised for any of the digests (600 000 with SHA-256, 1.3 million with SHA-1).",
    "S-042": "single DES is read without being asked for, with a warning: see Q-020. It never weakens the request.",
    "S-050": "relaxing signer or signature ends this protection, as the manual says: then anyone makes us decrypt.",
    "S-082": "what is left: an RSA certificate of a client which may encipher keys and names no purpose is taken for an RA's; so is one that "
    "only signs where the CA does not do both. Real RAs look the same. Each run warns (ra-not-pinned) with the lines that shut "
    "it out, encryption_certificate and signing_certificate; without them, who can change GetCACert and holds such a certificate "
    "reads the challenge, and refuses in the CA's name.",
    "S-090": "a client ties its request to itself by two signatures of one key; that a challenge is good once, for one "
    "subject, is for the CA to see to.",
}
