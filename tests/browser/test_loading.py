"""A browser loads every view in few bytes, and nothing of the page twice."""

from playwright.sync_api import Page, Route, expect

from tests.support.service import Service

VIEWS = (
    *("", "spaces", "spaces/default", "datasets", "datasets/upload", "components", "compositions"),
    *("compositions?new=1", "compose", "evaluate", "unlearn", "receipts", "datasets/{dataset}"),
    *("datasets/{dataset}?tab=images", "datasets/{dataset}?tab=doubts", "components/{component}"),
    *("compose?components={component}", "unlearn/datasets/{dataset}"),
    "unlearn/components/{component}",
)
MAX_BYTES = 150_000
LOADED = """() => performance.getEntries()
  .filter(({ entryType, name }) => entryType === "navigation" || name.includes("/page/"))
  .map((each) => [each.name, each.encodedBodySize])"""


def test_every_view_is_loaded_in_less_than_150_kilobytes(page: Page, plain: Service) -> None:
    component = plain.component({"cat": 3, "dog": 3})
    dataset = plain.client.get(f"/v1/components/{component}").json()["dataset_id"]
    page.goto(plain.url, wait_until="networkidle")
    for view in VIEWS:
        address = view.format(component=component, dataset=dataset)
        page.evaluate("(hash) => { location.hash = hash; }", f"#/{address}")
        expect(page.locator("main h1").first).to_be_visible()
        expect(page.locator(".loading")).to_have_count(0)
    loaded = page.evaluate(LOADED)
    code = [name for name, _ in loaded if name.endswith((".js", ".css"))]
    assert len(code) == len(set(code))
    assert sum(dict(loaded).values()) <= MAX_BYTES  # browsers look at the icon again and again


def test_what_a_browser_has_is_not_sent_again(page: Page, plain: Service) -> None:
    page.goto(plain.url, wait_until="networkidle")
    answered: list[int] = []
    page.on("response", lambda answer: answered.append(answer.status))
    page.reload(wait_until="networkidle")
    assert answered.count(304) > 5


def test_a_view_that_comes_late_does_not_replace_the_one_that_is_shown(
    page: Page, plain: Service
) -> None:
    late: list[Route] = []
    page.route("**/views/start.js", lambda route: late.append(route))
    page.goto(plain.url)
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()
    page.get_by_role("link", name="Spaces").click()
    expect(page.get_by_role("link", name="default")).to_be_visible()
    with page.expect_response("**/views/start.js"):
        late[0].continue_()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("link", name="default")).to_be_visible()
