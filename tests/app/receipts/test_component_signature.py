"""Component files are signed by the receipt key, and checked without the service."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.cli import main
from tangent_composer.receipts import envelope, signatures
from tests.support.problems import problem
from tests.support.signing_keys import key_file

SCOPE = "head"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {signatures.key_id_of(KEY.public_key()): KEY.public_key()}
SHA256 = "ab" * 32


def made(payload: bytes | None = None, key: Ed25519PrivateKey = KEY) -> str:
    """An envelope, written without the code that reads it but for the statement."""
    if payload is None:
        statement = envelope.statement("cmp_1", SHA256)
        payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    kind = b"application/vnd.in-toto+json"
    text = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    signature = {
        "keyid": signatures.key_id_of(key.public_key()),
        "sig": base64.b64encode(key.sign(text)).decode(),
    }
    members = {"payloadType": kind.decode(), "payload": base64.b64encode(payload).decode()}
    return json.dumps(members | {"signatures": [signature]})


def test_a_file_is_checked_by_its_signature_and_the_key_alone(serve, tmp_path, capsys):
    service = serve(receipt_key_file=key_file(tmp_path / "key.pem"))
    id_ = service.component({"cat": 3})
    file, signature, key = (tmp_path / name for name in ("file", "signature", "public.pem"))
    content = service.client.get(f"/v1/components/{id_}/delta").content
    file.write_bytes(content)
    signature.write_text(service.client.get(f"/v1/components/{id_}/signature").text)
    key.write_text(service.client.get("/v1/receipts/key").json()["public_key"])
    arguments = [str(file), "--signature", str(signature), "--public-key", str(key)]

    payload = json.loads(base64.b64decode(json.loads(signature.read_text())["payload"]))
    digest = hashlib.sha256(content)
    assert payload["predicate"]["resources"][0]["digest"] == digest.hexdigest()
    whole = hashlib.sha256(digest.digest()).hexdigest()
    assert payload["subject"] == [{"name": id_, "digest": {"sha256": whole}}]
    assert main(["verify-component", *arguments]) == 0
    assert f"is {id_} as it was signed" in capsys.readouterr().out
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert main(["verify-component", *arguments]) == 1
    assert "signed is" in capsys.readouterr().out
    file.unlink()
    assert main(["verify-component", *arguments]) == 2


def test_a_service_without_a_key_says_how_to_get_one(shared):
    id_ = shared.component({"cat": 3})
    found = problem(
        shared.client.get(f"/v1/components/{id_}/signature"), 404, "receipts_not_signed"
    )
    assert "TANGENT_RECEIPT_KEY_FILE" in found["detail"]


def test_every_byte_of_an_envelope_is_guarded():
    text = made().encode()
    assert envelope.read(text.decode(), KEYS) == ("cmp_1", SHA256)
    for place, byte in enumerate(text):
        changed = (text[:place] + bytes([byte ^ 1]) + text[place + 1 :]).decode()
        try:
            assert envelope.read(changed, KEYS) == ("cmp_1", SHA256)
        except envelope.BadEnvelope:
            continue
        assert json.loads(changed) == json.loads(text), place  # white space is no content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no signature as GET"),
        ("[" * 100_000, "no signature as GET"),
        ('{"payload": 1, "signatures": []}', "no signature as GET"),
        (made(b"{}"), "no signature as GET"),
        (made(key=Ed25519PrivateKey.generate()), "none of the given keys"),
    ],
)
def test_a_text_that_is_no_signature_is_refused(text, message):
    with pytest.raises(envelope.BadEnvelope, match=message):
        envelope.read(text, KEYS)
