"""A query that comes again is not read again; a long one is, so that nobody fills the memory."""

import pytest
from fastapi.exceptions import RequestValidationError

from app.api.http import prediction_forms as forms
from app.settings import Settings


def read(query: str) -> forms.PredictionRequest:
    return forms._of_one_image(query.encode(), b"image", Settings()).parse()


def test_a_short_query_is_read_once():
    assert read("top_k=2&space=x").query is read("top_k=2&space=x").query
    assert read("top_k=2&space=x").query is not read("top_k=3&space=x").query


def test_a_long_query_is_read_each_time():
    long = "&".join(f"labels={'a' * 100}{n}" for n in range(forms.KEPT_BYTES // 100))
    assert read(long).query == read(long).query
    assert read(long).query is not read(long).query


def test_a_wrong_query_is_refused_each_time():
    for _ in range(2):
        with pytest.raises(RequestValidationError, match="top_k"):
            read("top_k=none")
