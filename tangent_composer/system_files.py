"""Files that operating systems, network drives and tools add to folders, by their names.

Such files are passed over and counted. Other hidden files, whose path has a part that begins with a
dot, are looked at: a person may have made a folder `.22 calibre`.
"""

FOLDERS = frozenset(
    [
        *("__macosx", ".appledouble", ".temporaryitems", ".trashes", ".fseventsd"),
        *(".spotlight-v100", ".documentrevisions-v100"),  # macOS
        *("$recycle.bin", "recycler", "system volume information"),  # Windows
        *(".trash", ".trash-1000", "lost+found", ".thumbnails", ".cache"),  # Linux
        *("@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", ".@__thumb", ".snapshot"),  # NAS
        *(".git", ".svn", ".hg", ".dvc", ".idea", ".vscode", ".ipynb_checkpoints", "__pycache__"),
    ]
)
FILES = frozenset(
    [
        *(".ds_store", ".localized", ".volumeicon.icns", ".apdisk", "icon\r"),
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),
        *(".directory", ".nomedia", ".picasa.ini"),
        *(".gitignore", ".gitattributes", ".gitkeep", ".keep", ".gitmodules"),
    ]
)
RESOURCES, RESOURCE_MAGIC = "._", b"\x00\x05\x16\x07"  # AppleDouble: what a Mac keeps beside a file


def is_system_file(path: str) -> bool:
    """Return whether the name shows that a system or a tool has added the file."""
    *folders, name = path.casefold().split("/")
    return name in FILES or not FOLDERS.isdisjoint(folders)


def may_be_resources(path: str) -> bool:
    """Return whether the file may hold a Mac's resources; its first four bytes decide."""
    return path.rpartition("/")[2].startswith(RESOURCES)


def is_hidden(path: str) -> bool:
    """Return whether a part of the path begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))
