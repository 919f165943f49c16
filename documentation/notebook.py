"""A Jupyter notebook as a page: its text as it stands, its code as blocks, without outputs."""

import json


def page(notebook: str, file: str) -> str:
    """Return the page of a notebook's JSON; `file` is what it links for download."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"]).strip("\n")
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    first, *rest = parts
    return "\n\n".join([first, f"[The notebook as a file]({file}).", *rest]) + "\n"
