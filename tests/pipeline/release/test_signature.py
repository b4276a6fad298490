"""Signatures: ssh-keygen makes and checks them, and every way in which that can fail says what to do."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StorageError, UsageError
from pipeline.release.signature import made_by, read_signers, require_key, sign, signed_by
from tests.pipeline.release.signing import make_key, verified_by_plain_tool

CONTENT = b'{"name": "masks"}'


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def key(keys):
    return make_key(keys)


@pytest.fixture(scope="module")
def other(keys):
    return make_key(keys, "other")


@pytest.fixture(scope="module")
def signature(key):
    return sign([CONTENT], str(key.private))[0]


@pytest.fixture
def _alone(monkeypatch):
    """Neither an agent nor a window asks for passphrases."""
    for name in ("SSH_AUTH_SOCK", "DISPLAY", "SSH_ASKPASS", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


# Properties


@settings(max_examples=12, deadline=None)
@given(contents=st.lists(st.binary(max_size=300), min_size=2, max_size=4, unique=True))
def test_a_signature_fits_its_own_content_and_no_other(key, contents):
    signatures = sign(contents, str(key.private))
    signers = read_signers(str(key.public))
    for place, content in enumerate(contents):
        assert signed_by(content, signatures[place], signers).startswith(made_by(content, signatures[place]))
        with pytest.raises(StorageError, match="one of them was changed"):
            made_by(content, signatures[place - 1])


@settings(max_examples=15, deadline=None)
@given(place=st.integers(0, len(CONTENT) - 1), change=st.integers(1, 255))
def test_a_changed_byte_of_what_is_signed_is_found(signature, place, change):
    changed = bytearray(CONTENT)
    changed[place] ^= change
    with pytest.raises(StorageError, match="is no signature of the file beside it"):
        made_by(bytes(changed), signature)


def test_a_signature_that_is_cut_anywhere_is_found(signature):
    for end in range(0, len(signature) - 1, 24):
        with pytest.raises(StorageError, match="is no signature"):
            made_by(CONTENT, signature[:end])


# Examples


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_stranger_verifies_with_the_plain_tool(tmp_path, kind):
    made, file = make_key(tmp_path, kind=kind), tmp_path / "release.json"
    file.write_bytes(CONTENT)
    (tmp_path / "release.json.sig").write_bytes(sign([CONTENT], str(made.private))[0])
    assert verified_by_plain_tool(file, made)
    file.write_bytes(CONTENT + b" ")
    assert not verified_by_plain_tool(file, made)


def test_the_key_is_never_changed_or_copied(tmp_path, monkeypatch, key):
    before = key.private.read_bytes()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    sign([CONTENT], str(key.private))
    assert key.private.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "form",
    [
        "{key}\n",
        "{bare}",
        "# ours\n\n{other}\n{key}\n",
        "me@example.org {key}\n",
        '*@example.org,you namespaces="file,git" {key}\n',
        'me@example.org valid-after="20200101" {bare}\n',
    ],
)
def test_every_form_of_public_keys_is_understood(tmp_path, key, other, signature, form):
    path = tmp_path / "signers"
    path.write_text(form.format(key=key.text, other=other.text, bare=" ".join(key.text.split()[:2])))
    assert "ED25519 key SHA256:" in signed_by(CONTENT, signature, read_signers(str(path)))


@pytest.mark.parametrize(
    "form",
    ["{other}\n", 'me valid-before="20200101" {key}\n', 'me namespaces="git" {key}\n'],
    ids=["another key", "expired", "for something else"],
)
def test_a_signature_by_somebody_else_does_not_count(tmp_path, key, other, signature, form):
    path = tmp_path / "signers"
    path.write_text(form.format(key=key.text, other=other.text))
    with pytest.raises(StorageError, match=r"was made with the ED25519 key SHA256:\S+, which does not count"):
        signed_by(CONTENT, signature, read_signers(str(path)))


def test_a_signature_for_another_purpose_does_not_count(tmp_path, key):
    (tmp_path / "content").write_bytes(CONTENT)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", key.private, "-n", "email", tmp_path / "content"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(StorageError, match="namespace does not match"):
        made_by(CONTENT, (tmp_path / "content.sig").read_bytes())


# Faults: a key to sign with


def test_a_key_that_does_not_exist_is_refused(tmp_path):
    for missing in (tmp_path / "nowhere", tmp_path, "s3://bucket/key"):
        with pytest.raises(UsageError, match="is not a file on this machine"):
            require_key(str(missing))


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda key: key.private.chmod(0o644), "chmod 600"),
        (lambda key: key.private.write_bytes(key.public.read_bytes()), "this is a public key: give the private one"),
        (lambda key: key.private.write_bytes(b"{}"), "this is no key of OpenSSH"),
        (lambda key: key.private.write_bytes(key.private.read_bytes()[:90]), r"it can't be read; is it whole\?"),
        (lambda key: key.private.write_bytes(b""), "this is no key of OpenSSH"),
    ],
    ids=["readable by others", "public", "something else", "torn", "empty"],
)
def test_a_key_that_can_not_sign_is_refused_with_what_to_do(tmp_path, make, said):
    key = make_key(tmp_path)
    make(key)
    key.public.unlink()
    with pytest.raises(UsageError, match=said):
        sign([CONTENT], str(key.private))


@pytest.mark.usefixtures("_alone")
def test_a_public_key_without_its_private_half_is_refused(tmp_path):
    key = make_key(tmp_path)
    key.private.unlink()
    with pytest.raises(UsageError, match="load that into ssh-agent with ssh-add"):
        sign([CONTENT], str(key.public))


@pytest.mark.usefixtures("_alone")
def test_a_key_of_openssl_needs_its_public_half_beside_it(tmp_path):
    key = make_key(tmp_path, kind="ecdsa")
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-m", "PEM", "-N", "", "-f", key.private], check=True, capture_output=True
    )
    public = key.public.read_bytes()
    key.public.unlink()
    with pytest.raises(UsageError, match=r"ssh-keygen -y -f \S+key > \S+key\.pub"):
        sign([CONTENT], str(key.private))
    key.public.write_bytes(public)
    assert "ECDSA key" in made_by(CONTENT, sign([CONTENT], str(key.private))[0])


@pytest.fixture(scope="module")
def locked(keys):
    return make_key(keys, "locked", passphrase="open sesame")


@pytest.mark.usefixtures("_alone")
def test_a_passphrase_is_asked_for_once_however_many_files_are_signed(tmp_path, monkeypatch, locked):
    asks = tmp_path / "asks"
    asks.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/log\necho open sesame\n")
    asks.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(asks))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    signatures = sign([CONTENT, b"other"], str(locked.private))
    assert made_by(CONTENT, signatures[0]) == made_by(b"other", signatures[1])
    assert (tmp_path / "log").read_text() == "asked\n"


@pytest.mark.usefixtures("_alone")
def test_without_anybody_to_ask_for_a_passphrase_it_says_what_to_do(tmp_path, monkeypatch, locked):
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    with pytest.raises(UsageError, match=r"run the command in a terminal, or run ssh-add and give KEY\.pub"):
        sign([CONTENT], str(locked.private))


@pytest.mark.usefixtures("_alone")
def test_the_agent_signs_for_a_public_key(tmp_path, monkeypatch, key):
    socket, lonely = tmp_path / "agent", tmp_path / "alone.pub"
    lonely.write_bytes(key.public.read_bytes())
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    try:
        agent.stdout.readline()  # says that it listens
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", key.private], check=True, capture_output=True)
        assert "ED25519" in made_by(CONTENT, sign([CONTENT], str(lonely))[0])
    finally:
        agent.terminate()
        agent.wait()
        agent.stdout.close()


# Faults: keys of signers


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"# nothing\n", "it is empty"),
        (b"\xff\xfe", "holds no public keys"),
        (b"me@example.org\n", "it has the line 'me@example.org'"),
        (b"ssh-ed25519\n", "it has the line 'ssh-ed25519'"),
        (b"-----BEGIN PUBLIC KEY-----\nMFkw\n", "ssh-keygen -i -m PKCS8"),
        (b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "ssh-keygen -i -m"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", r"is a private key: give the public one, KEY\.pub"),
        (bytes(65 << 10), "at most 65,536 are read"),
    ],
    ids=range(9),
)
def test_what_is_no_public_key_is_refused_as_signer(tmp_path, content, said):
    path = tmp_path / "signer"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_signers(str(path))


def test_a_signer_that_does_not_exist_is_refused(tmp_path):
    for missing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(UsageError, match="is not a file: give a public key"):
            read_signers(str(missing))


def test_without_the_tool_it_says_what_to_install(tmp_path, monkeypatch, key):
    monkeypatch.setenv("PATH", str(tmp_path))
    for use in (lambda: sign([CONTENT], str(key.private)), lambda: read_signers(str(key.public))):
        with pytest.raises(UsageError, match=r"ssh-keygen is not installed.*install OpenSSH"):
            use()
