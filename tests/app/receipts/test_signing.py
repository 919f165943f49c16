"""Anyone can recompute a receipt's hash; openssl accepts its signature; bad keys are refused."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from app.receipts import signing
from tangent_composer.receipts import signatures
from tests.support.signing_keys import key_file, pem_of

RECEIPT = {
    "number": 1,
    "id": "rcpt_0190",
    "created_at": "2025-01-31T09:30:00.123456Z",
    "body": {"version": 1, "subjects": [{"id": "cmp_1", "kind": "component"}], "salt": "é"},
    "previous_hash": "0" * 64,
}


def test_the_hash_of_a_receipt_without_a_signature_is_that_of_its_five_members():
    text = (
        '{"body":{"salt":"é","subjects":[{"id":"cmp_1","kind":"component"}],"version":1},'
        '"created_at":"2025-01-31T09:30:00.123456Z","id":"rcpt_0190","number":1,'
        f'"previous_hash":"{"0" * 64}"}}'
    )

    expected = hashlib.sha256(text.encode()).hexdigest()
    assert signatures.hash_of(**RECEIPT, key_id=None) == expected


def test_the_hash_covers_the_key():
    assert signatures.hash_of(**RECEIPT, key_id="a") != signatures.hash_of(**RECEIPT, key_id=None)
    assert signatures.hash_of(**RECEIPT, key_id="a") != signatures.hash_of(**RECEIPT, key_id="b")


def test_a_signature_holds_for_its_hash_and_its_key_only(tmp_path):
    one, other = (signing.signer(key_file(tmp_path / str(n), n)) for n in (1, 2))
    signature = one.sign("ab" * 32)
    public = signatures.public_key(one.public_key)

    assert signatures.holds("ab" * 32, signature, public)
    assert not signatures.holds("ab" * 31 + "aa", signature, public)
    assert not signatures.holds("ab" * 32, signature, signatures.public_key(other.public_key))
    assert not signatures.holds("ab" * 32, None, public)
    # Other ways to write the same bytes are other signatures.
    assert not signatures.holds("ab" * 32, signature.upper(), public)
    assert not signatures.holds("ab" * 32, f"{signature} ", public)


def openssl(*arguments: object, stdin: bytes = b"") -> bytes:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_makes_the_key_and_agrees_on_signature_and_fingerprint(tmp_path):
    private = tmp_path / "receipts.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    private.chmod(0o400)
    signer = signing.signer(private)
    (tmp_path / "public.pem").write_text(signer.public_key)
    (tmp_path / "text").write_bytes(b"tangent-composer receipt " + b"c3" * 32)
    (tmp_path / "signature").write_bytes(bytes.fromhex(signer.sign("c3" * 32)))

    output = openssl(
        *("pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "public.pem", "-rawin"),
        *("-in", tmp_path / "text", "-sigfile", tmp_path / "signature"),
    )

    assert b"Verified Successfully" in output
    der = openssl("pkey", "-in", private, "-pubout", "-outform", "DER")
    assert signer.key_id == hashlib.sha256(der).hexdigest()


def refused(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_any_other_private_key_is_refused_with_a_remedy(tmp_path):
    good = pem_of(ed25519.Ed25519PrivateKey.generate())
    locked = pem_of(ed25519.Ed25519PrivateKey.generate(), password=b"secret")
    public = signing.signer(refused(tmp_path / "good", good)).public_key.encode()
    cases = [
        (pem_of(rsa.generate_private_key(65537, 2048)), "a key of kind RSA, not an Ed25519 key"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "of kind EC, not an Ed25519"),
        (locked, "it has a password"),
        (public, "no private key in PEM: make one with `openssl genpkey -algorithm ed25519`"),
        (good[:60], "no private key in PEM"),
        (b"", "no private key in PEM"),
    ]
    for number, (content, message) in enumerate(cases):
        with pytest.raises(signatures.BadKey, match=message):
            signing.signer(refused(tmp_path / str(number), content))
    for mode in (0o604, 0o602, 0o601):
        with pytest.raises(
            signatures.BadKey, match="every user of the machine has access to it: chmod"
        ):
            signing.signer(refused(tmp_path / "open", good, mode))
        (tmp_path / "open").unlink()
    with pytest.raises(signatures.BadKey, match="it cannot be read: No such file or directory"):
        signing.signer(tmp_path / "none")
    with pytest.raises(signatures.BadKey, match="it cannot be read: Is a directory"):
        signing.signer(tmp_path)


def test_a_group_may_read_the_key_as_mounted_secrets_need(tmp_path):
    path = key_file(tmp_path / "key")
    path.chmod(0o440)

    assert signing.signer(path).key_id


def test_any_other_public_key_is_refused(tmp_path):
    for text in ("", "-----BEGIN PUBLIC KEY-----\n", key_file(tmp_path / "key").read_text()):
        with pytest.raises(signatures.BadKey, match="no public key in PEM"):
            signatures.public_key(text)
