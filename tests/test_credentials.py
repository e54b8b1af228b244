"""C2PA manifests, read offline: signed pictures, changed ones, and a library that is not let out of sight."""

import datetime
import http.server
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import encoded, grey

from realface import credentials
from realface.provenance import read

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif"}


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> bytes:
    root = name == issuer

    def subject(organisation: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organisation)])

    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    made = (
        x509.CertificateBuilder(subject(issuer), subject(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2099, 1, 1))
        .add_extension(x509.BasicConstraints(root, None), True)
        .add_extension(x509.KeyUsage(digital_signature=not root, key_cert_sign=root, crl_sign=root, **usage), True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if not root:
        made = made.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return made.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def identity() -> tuple[bytes, bytes]:
    """A certificate chain and its private key, in PEM."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = certificate("Acme", leaf, "Acme Root", root) + certificate("Acme Root", root, "Acme Root", root)
    form = serialization.PrivateFormat.PKCS8
    return chain, leaf.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def signed(
    identity: tuple[bytes, bytes],
    kind: str = "JPEG",
    source: str = VOCABULARY + "trainedAlgorithmicMedia",
    agent: object = "Sora",
    elsewhere: str = "",
    parent: bytes = b"",
) -> bytes:
    """A picture with a manifest, or with the address of one kept elsewhere."""
    action = {"action": "c2pa.created", "digitalSourceType": source, "softwareAgent": agent}
    if parent:
        action = {"action": "c2pa.opened", "softwareAgent": agent, "parameters": {"ingredientIds": ["parent"]}}
    manifest = {
        "claim_generator_info": [{"name": "Maker", "version": "4"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
    }
    made = io.BytesIO()
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, *identity, None))
    with c2pa.Builder(
        json.dumps(manifest), c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
    ) as b:
        if elsewhere:
            b.set_remote_url(elsewhere)
            b.set_no_embed()
        if parent:
            about = {"title": "parent", "relationship": "parentOf", "label": "parent"}
            b.add_ingredient(about, KINDS[kind], io.BytesIO(parent))
        b.sign(signer, KINDS[kind], io.BytesIO(encoded(grey(90), kind)), made)
    return made.getvalue()


def said(data: bytes) -> list[tuple[str, str, str]]:
    return [(claim.kind, claim.says, claim.where) for claim in read(data)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_picture_of_each_kind(identity: tuple[bytes, bytes], kind: str) -> None:
    assert said(signed(identity, kind, agent={"name": "Sora", "version": "2"})) == [
        ("generator", "Sora 2", "C2PA softwareAgent"),
        ("source-type", "made by a generative model (trainedAlgorithmicMedia)", "C2PA DigitalSourceType"),
        ("c2pa", "manifest signed in the name of Acme (signature valid, name not checked)", "C2PA manifest"),
        ("software", "Maker 4", "C2PA claim generator"),
    ]


def test_a_picture_changed_after_signing(identity: tuple[bytes, bytes]) -> None:
    data = bytearray(signed(identity, "PNG"))
    data[data.rfind(b"IDAT") + 20] ^= 1
    (says,) = [says for kind, says, _ in said(bytes(data)) if kind == "c2pa"]
    assert says == "manifest signed in the name of Acme (not valid: assertion.dataHash.mismatch)"


def test_a_manifest_moved_to_another_picture(identity: tuple[bytes, bytes]) -> None:
    data, other = signed(identity), encoded(grey(200, 96, 96), "JPEG")
    start = data.index(b"\xff\xeb")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
    (says,) = [says for kind, says, _ in said(other[:2] + data[start:end] + other[2:]) if kind == "c2pa"]
    assert "not valid: " in says


def test_what_a_picture_was_made_from(identity: tuple[bytes, bytes]) -> None:
    data = signed(
        identity, agent="Editor", parent=signed(identity, source=VOCABULARY + "digitalCapture", agent="Phone")
    )
    got = said(data)
    assert ("software", "Editor", "C2PA softwareAgent") in got
    assert ("software", "Phone", "C2PA ingredient softwareAgent") in got
    assert ("source-type", "taken by a digital camera (digitalCapture)", "C2PA ingredient DigitalSourceType") in got
    assert [kind for kind, *_ in got].count("c2pa") == 1


def test_a_damaged_manifest(identity: tuple[bytes, bytes]) -> None:
    data = signed(identity)
    at = data.index(b"jumdc2pa") + 40
    assert said(data[:at] + bytes(400) + data[at + 400 :]) == [
        ("c2pa", "manifest that cannot be read", "C2PA manifest")
    ]


@pytest.fixture
def requests() -> Iterator[list[str]]:
    """The paths that anyone asks of a server at 127.0.0.1, the first of them its address."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        asked.append(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


def test_nothing_is_fetched(
    identity: tuple[bytes, bytes], requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    data = signed(identity, elsewhere=f"{requests[0]}/a.c2pa")
    assert said(data) == [("c2pa", "manifest kept elsewhere, which is not fetched", "XMP provenance")]
    assert credentials.fields(data)[0].text == "manifest that cannot be read"
    assert requests[1:] == []
    with pytest.raises(c2pa.C2paError):  # left to itself the library would: the settings are what stops it
        c2pa.Reader("image/jpeg", io.BytesIO(data))
    assert requests[1:] == ["/a.c2pa"]


def test_no_code_is_taken_from_the_current_folder(tmp_path: Path) -> None:
    own = Path(c2pa.__file__).parent / "libs"
    (native,) = (file for file in own.glob("*c2pa_c.*") if file.suffix in (".so", ".dylib", ".dll"))
    (tmp_path / native.name).symlink_to(native)
    code = "from realface import credentials; print(credentials._library().c2pa._lib._name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == native


def test_another_package_of_that_name_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "c2pa.py").write_text("raise SystemExit('not this one')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from realface import credentials as c; print(c._library())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
