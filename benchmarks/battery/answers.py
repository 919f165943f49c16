"""Answers of a service, counted: each key is a status with the code of its problem."""

import re
from collections import Counter

import httpx

Answers = Counter[str]
UNHONEST = re.compile(r"(?:[A-Z]+ )?5(?!03|07)\d\d\b")  # the status, after a method or alone


def code_of(answer: httpx.Response) -> str:
    """Return the status, with the code of a problem."""
    try:
        code = answer.json().get("code", "")
    except (ValueError, AttributeError):
        code = ""
    return f"{answer.status_code} {code}".strip()


def unhonest(answers: Answers) -> bool:
    """Return whether an answer is 5xx and neither 503 nor 507."""
    return any(UNHONEST.match(each) for each in answers)


def listed(answers: Answers) -> str:
    """Return the answers with their counts as text."""
    return ", ".join(f"{count} × {each}" for each, count in answers.items())
