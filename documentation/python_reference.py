"""The pages that show the docstrings of what people call from Python."""

CLIENT = "tangent_composer.client.blocking"
OF_CLIENT = (
    ("The client", (f"{CLIENT}.client.Client",)),
    ("Datasets", (f"{CLIENT}.datasets.Datasets", f"{CLIENT}.datasets.Dataset")),
    ("Components", (f"{CLIENT}.components.Components", f"{CLIENT}.components.Component")),
    ("Compositions", (f"{CLIENT}.compositions.Compositions",)),
    ("Predictions", ("tangent_composer.client.predictions.Predictions",)),
    (
        "Evaluations",
        (
            f"{CLIENT}.evaluations.Evaluations",
            f"{CLIENT}.evaluations.Evaluation",
            "tangent_composer.client.comparison.Comparison",
        ),
    ),
    ("Images", (f"{CLIENT}.images.Images",)),
    ("Receipts", (f"{CLIENT}.receipts.Receipts", "tangent_composer.client.ledgers.Verified")),
    ("Spaces", (f"{CLIENT}.spaces.Spaces",)),
    ("Errors", ("tangent_composer.client.errors",)),
)
OF_LIBRARY = (
    (
        "Spaces",
        (
            "tangent.spaces.opening.open_space",
            "tangent.spaces.space.Space",
            "tangent.spaces.answering.Answering",
        ),
    ),
    ("Training", ("tangent.training.fit.fit", "tangent.training.fit.TrainingResult")),
    (
        "Components",
        (
            "tangent.components.component.Component",
            "tangent.components.delta.Delta",
            "tangent.components.hyperparameters.Hyperparameters",
            "tangent.components.privacy.Privacy",
        ),
    ),
    ("Composition", ("tangent.composition.compose.compose",)),
    ("Unlearning", ("tangent.training.downdate",)),
)


def client_page() -> str:
    """Return the page on the client."""
    return _page(
        "The client, method by method",
        "Made from the docstrings of `tangent_composer`. `AsyncClient` has the same methods, to be "
        "awaited; "
        "[the page on the client](client.md) shows them at work.",
        OF_CLIENT,
    )


def library_page() -> str:
    """Return the page on the library."""
    return _page(
        "The library `tangent`",
        "The mathematics without the service, made from its docstrings: what "
        "[local training](local-training.md) and the service call. It can be imported in a "
        "checkout of the repository, with the extra `fit`. "
        "[The mathematics](mathematics.md) says what it computes.",
        OF_LIBRARY,
    )


def _page(title: str, about: str, parts: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    lines = [f"# {title}", about]
    for head, names in parts:
        lines += [f"## {head}", *(f"::: {name}" for name in names)]
    return "\n\n".join(lines) + "\n"
