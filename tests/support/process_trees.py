"""The processes that another one has started, and whether they run."""

from pathlib import Path


def children(pid: int, part: str) -> list[int]:
    """The running processes that this one has started with this in their command, by number."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = stat(int(folder.name))[1]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (ValueError, FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid and part in command:
            found.append(int(folder.name))
    return sorted(found)


def environ_of(pid: int) -> dict[str, str]:
    """The environment that the process was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def is_running(pid: int) -> bool:
    """Return whether the process is there, and has not ended."""
    try:
        return stat(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stat(pid: int) -> tuple[str, int]:
    """The process's state, and the number of its parent."""
    text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return text[0], int(text[1])
