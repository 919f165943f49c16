"""Troubles are states of the page: in the service's words, with what to do about them."""

from playwright.sync_api import Page, expect

from tests.support.browser import Watch, sign_in
from tests.support.served import Served
from tests.support.service import Service


def refuse(page: Page, pattern: str, status: int, code: str, detail: str, **headers: str) -> None:
    """Answer requests to these addresses with a problem."""
    body = {"type": "about:blank", "title": "x", "status": status, "code": code, "detail": detail}
    page.route(pattern, lambda route: route.fulfill(status=status, json=body, headers=headers))


def test_a_wrong_key_is_refused_and_the_right_one_is_asked_for_again(
    page: Page, guarded: Served, watch: Watch
) -> None:
    watch.expect("status of 401")
    page.goto(guarded.url)
    page.get_by_label("Key").fill("a-wrong-key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("key")
    assert guarded.key is not None
    page.get_by_label("Key").fill(guarded.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Key")).to_be_visible()


def test_a_key_that_is_revoked_in_the_middle_leads_back_to_the_form(
    page: Page, guarded: Served, watch: Watch
) -> None:
    watch.expect("status of 401")
    body = {"name": "guest", "scopes": ["read", "predict"]}
    made = guarded.client.post("v1/keys", json=body).json()
    sign_in(page, guarded.url, made["key"])
    expect(page.get_by_text("guest")).to_be_visible()
    assert guarded.client.delete(f"v1/keys/{made['id']}").status_code == 200
    page.get_by_role("link", name="Datasets").click()
    expect(page.get_by_label("Key")).to_be_visible()


def test_a_key_that_may_only_read_is_told_so(page: Page, guarded: Served, watch: Watch) -> None:
    watch.expect("status of 403")
    body = {"name": "reader", "scopes": ["read"]}
    made = guarded.client.post("v1/keys", json=body).json()
    dataset = guarded.dataset({"cat": 3, "dog": 3})
    sign_in(page, guarded.url, made["key"])
    page.goto(f"{guarded.url}#/datasets/{dataset}")
    page.get_by_role("button", name="Train a component").click()
    expect(page.get_by_role("alert")).to_contain_text("scope")


def test_a_busy_service_says_when_to_try_again_and_the_button_does(
    page: Page, plain: Service, watch: Watch
) -> None:
    watch.expect("status of 503")
    told = ("database_busy", "the database is busy")
    refuse(page, "**/v1/datasets?*", 503, *told, **{"Retry-After": "7"})
    page.goto(f"{plain.url}/#/datasets")
    trouble = page.get_by_role("alert")
    expect(trouble).to_contain_text("The database is busy.")
    expect(trouble).to_contain_text("Try again in 7 s.")
    page.unroute("**/v1/datasets?*")
    page.get_by_role("button", name="Try again").click()
    expect(trouble).to_have_count(0)
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()


def test_a_full_disk_and_a_training_under_way_have_their_remedies(
    page: Page, plain: Service, watch: Watch
) -> None:
    watch.expect("status of (409|507)")
    dataset = plain.dataset({"cat": 3, "dog": 3})
    page.goto(f"{plain.url}/#/datasets/{dataset}")
    for status, code, remedy in (
        (507, "disk_full", "Delete what is not needed any more"),
        (409, "space_retraining", "Components are being trained again."),
    ):
        refuse(page, "**/v1/components", status, code, "it cannot be done now")
        page.get_by_role("button", name="Train a component").click()
        expect(page.get_by_role("alert")).to_contain_text(remedy)


def test_what_was_deleted_while_it_was_looked_at_leads_to_its_receipt(
    page: Page, plain: Service, watch: Watch
) -> None:
    watch.expect("status of 410")
    component = plain.component({"cat": 3, "dog": 3})
    page.goto(f"{plain.url}/#/components/{component}")
    page.get_by_role("button", name="Rename").click()
    receipt = plain.client.delete(f"/v1/components/{component}").json()["id"]
    page.get_by_label("New name").fill("other")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("Someone has deleted it")
    link = dialog.get_by_role("link", name="Read its receipt")
    expect(link).to_have_attribute("href", f"#/receipts/{receipt}")


def test_a_service_that_does_not_answer_is_asked_again(
    page: Page, plain: Service, watch: Watch
) -> None:
    watch.expect("ERR_INTERNET_DISCONNECTED")
    page.goto(f"{plain.url}/#/spaces")
    expect(page.get_by_role("link", name="default")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("link", name="default").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("resnet_micro_32")).to_be_visible()


def test_a_space_says_in_which_number_format_it_answers(page: Page, plain: Service) -> None:
    page.goto(f"{plain.url}/#/spaces/default")
    fact = page.locator("dt", has_text="Precision").locator("+ dd")
    expect(fact).to_have_text("float32: answers are computed as trainings are")
    space = plain.client.get("/v1/spaces/default").json()
    page.route("**/v1/spaces/default", lambda route: route.fulfill(json=space))
    for precision, words in {
        None: "not known until the space is opened",
        "bfloat16": "bfloat16: answers are computed by a copy of the network",
    }.items():
        space["precision"] = precision
        page.reload()
        expect(fact).to_contain_text(words)


def test_the_start_says_that_no_worker_runs_and_what_that_means(page: Page, plain: Service) -> None:
    page.goto(plain.url)
    expect(page.get_by_text("No training worker runs.")).to_be_visible()
    expect(page.get_by_text("Trainings wait until one does")).to_be_visible()


def test_the_start_of_an_unready_service_names_the_check_that_fails(
    page: Page, plain: Service, watch: Watch
) -> None:
    watch.expect("status of 503")
    ready = plain.client.get("/readyz").json()
    ready["checks"]["forward"] = {"ok": False, "detail": "engine_away"}
    ready |= {"status": "unavailable", "spaces_unavailable": 1, "damaged": {"images": 2}}
    page.route("**/readyz", lambda route: route.fulfill(status=503, json=ready))
    page.goto(plain.url)
    expect(page.get_by_text("The check of the forward fails: engine_away.")).to_be_visible()
    expect(page.get_by_text("1 space does not answer.")).to_be_visible()
    expect(page.get_by_text("Damaged: 2 images.")).to_be_visible()


def test_two_who_change_one_composition_do_not_overwrite_each_other(
    page: Page, plain: Service, watch: Watch
) -> None:
    watch.expect("status of 412")
    body = {"rule": "joint", "components": "all"}
    assert plain.client.put("/v1/compositions/ours", json=body).status_code == 201
    page.goto(f"{plain.url}/#/compositions/ours")
    page.get_by_role("button", name="Change").click()
    plain.client.put("/v1/compositions/ours", json=body | {"rule": "average"})
    page.get_by_label("Rule").select_option("discriminant")
    page.get_by_role("button", name="Save the change").click()
    expect(page.get_by_role("alert")).to_contain_text("Someone has changed this composition")
    page.get_by_role("button", name="Show what is there now").click()
    expect(page.get_by_label("Rule")).to_have_value("average")
    page.get_by_label("Rule").select_option("discriminant")
    page.get_by_role("button", name="Save the change").click()
    expect(page.get_by_text("discriminant: joint, with every label equally likely")).to_be_visible()
    assert plain.client.get("/v1/compositions/ours").json()["rule"] == "discriminant"


def test_nothing_is_deleted_without_a_question_and_the_focus_comes_back(
    page: Page, plain: Service
) -> None:
    body = {"rule": "joint", "components": "all"}
    assert plain.client.put("/v1/compositions/mine", json=body).status_code == 201
    page.goto(f"{plain.url}/#/compositions/mine")
    button = page.get_by_role("button", name="Delete …")
    button.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()
    assert plain.client.get("/v1/compositions/mine").status_code == 200
    button.click()
    page.get_by_role("button", name="Delete the composition").click()
    expect(page.get_by_role("heading", name="Compositions")).to_be_visible()
    assert plain.client.get("/v1/compositions/mine").status_code == 404


def test_a_place_that_is_not_there_is_told(page: Page, plain: Service) -> None:
    page.goto(f"{plain.url}/#/nowhere")
    expect(page.get_by_role("alert")).to_contain_text("no such place")
