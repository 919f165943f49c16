"""Wrong keys are slowed down by address, in bounded memory."""

from secrets import token_hex, token_urlsafe

import pytest

from app.access.admission import MAX_FAILURES, Admission, can_be_guessed, group
from app.access.buckets import MAX_BUCKETS
from app.access.keyring import Found
from app.errors import TooManyRequests, Unauthorized
from app.settings import Settings
from tests.support.keys import made, sending
from tests.support.problems import problem

KEY = "correct-horse-battery"  # might be guessed
STRONG = "9f86d081884c7d659a2feaa0c55ad015"  # as `openssl rand -hex 16` makes it


def test_after_some_wrong_keys_an_address_has_to_wait(serve):
    service = serve(api_key=KEY)
    strong = made(service, "read")["key"]
    with sending(service, "wrong-horse-battery") as client:
        for _ in range(MAX_FAILURES):
            problem(client.get("/v1/spaces"), 401, "api_key_wrong")
        refused = client.get("/v1/spaces")
        problem(refused, 429, "too_many_wrong_keys")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    # A key of the settings could be a word: even the right guess must not show itself.
    problem(service.client.get("/v1/spaces"), 429, "too_many_wrong_keys")
    with sending(service, strong) as client:  # nobody can guess this one
        assert client.get("/v1/spaces").status_code == 200
    metrics = service.client.get("/metrics").text
    assert 'tangent_refused_callers_total{code="api_key_wrong"} 10.0' in metrics


def test_whoever_has_the_right_key_is_let_in_whatever_others_send_from_the_same_address(serve):
    service = serve(api_key=STRONG)
    with sending(service, STRONG[:-1] + "0") as client:
        for _ in range(MAX_FAILURES):
            problem(client.get("/v1/spaces"), 401, "api_key_wrong")
        for _ in range(2):
            problem(client.get("/v1/spaces"), 429, "too_many_wrong_keys")
            assert service.client.get("/v1/spaces").status_code == 200
        problem(client.get("/v1/spaces"), 429, "too_many_wrong_keys")  # nothing was forgiven


@pytest.mark.parametrize(
    ("key", "guessable"),
    [
        (STRONG, False),
        (STRONG[:-1], True),
        ("a" * 64, True),
        ("password" * 8, True),
        (token_urlsafe(32), False),
        (token_hex(16), False),
    ],
    ids=["strong", "short", "one letter", "one word", "random", "random in hexadecimal"],
)
def test_a_key_is_taken_for_a_secret_if_it_is_long_and_of_many_letters(key, guessable, caplog):
    settings = Settings(api_key=key, database_url=None)
    Admission(settings, None)  # type: ignore[arg-type]
    assert can_be_guessed(key) is guessable
    assert ("TANGENT_API_KEY can be guessed" in caplog.text) is guessable
    assert key not in caplog.text


def test_requests_without_a_key_do_not_count(serve):
    service = serve(api_key=KEY)
    with sending(service, None) as client:
        for _ in range(2 * MAX_FAILURES):
            problem(client.get("/v1/spaces"), 401, "api_key_missing")
    assert service.client.get("/v1/spaces").status_code == 200


@pytest.fixture
def admission(tmp_path) -> Admission:
    settings = Settings(data_dir=tmp_path, api_key=KEY, database_url=None)
    return Admission(settings, None)  # type: ignore[arg-type]


def wrong(admission: Admission, address: str) -> None:
    admission.admit("wrong", Found(None, True), address)


def test_other_addresses_are_not_held_up(admission):
    for _ in range(MAX_FAILURES):
        with pytest.raises(Unauthorized):
            wrong(admission, "192.0.2.1")
    with pytest.raises(TooManyRequests, match=r"192\.0\.2\.1"):
        wrong(admission, "192.0.2.1")
    assert admission.admit(KEY, Found(None, True), "192.0.2.2").id == "settings"


def test_the_addresses_of_one_ipv6_network_count_together(admission):
    for last in range(MAX_FAILURES):
        with pytest.raises(Unauthorized):
            wrong(admission, f"2001:db8::{last:x}")
    with pytest.raises(TooManyRequests):
        wrong(admission, "2001:db8::ffff")
    with pytest.raises(Unauthorized):
        wrong(admission, "2001:db8:0:1::1")
    assert group("::ffff:192.0.2.1") == "192.0.2.1"
    assert group("") == ""


def test_the_table_of_addresses_is_bounded(admission):
    for number in range(MAX_BUCKETS + 100):
        with pytest.raises(Unauthorized):
            wrong(admission, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(admission._failures) == MAX_BUCKETS
