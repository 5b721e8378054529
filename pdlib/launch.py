"""Ways from a page to its running notebook: buttons that lead to Binder and Colab, and commands for one's own machine.

The buttons need the public address of the repository: the key ``repository`` of ``_config.yml``, or the environment
variable ``PDLIB_REPOSITORY``. They lead to the source notebooks, which hold no outputs; nothing is loaded from another
host before one is pressed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pdlib.errors import PublishError
from pdlib.params import Chapter

BINDER = "https://mybinder.org"
PAGE = "book/rerun"
COLAB = "https://colab.research.google.com"
VARIABLE = "PDLIB_REPOSITORY"
_ADDRESS = re.compile(r"https://(github|gitlab)\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?")
_BRANCH = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Repository:
    """A public repository, on GitHub or GitLab, and the branch whose notebooks are opened."""

    host: str
    owner: str
    name: str
    branch: str

    @property
    def url(self) -> str:
        """Its address, as git clones it."""
        return f"https://{self.host}.com/{self.owner}/{self.name}"

    def binder(self, path: str) -> str:
        """Where Binder opens ``path`` in JupyterLab."""
        where = {"github": f"gh/{self.owner}/{self.name}", "gitlab": f"gl/{self.owner}%2F{self.name}"}
        return f"{BINDER}/v2/{where[self.host]}/{self.branch}?urlpath=lab/tree/{quote(path)}"

    def colab(self, path: str) -> str:
        """Where Colab opens ``path``; empty where it cannot, which is anywhere but on GitHub."""
        if self.host != "github":
            return ""
        return f"{COLAB}/github/{self.owner}/{self.name}/blob/{self.branch}/{quote(path)}"


def read_repository(config: Mapping[str, Any]) -> Repository | None:
    """The repository that the environment or ``_config.yml`` names; None where neither does.

    Parameters
    ----------
    config : mapping
        ``repository: {url, branch}`` of ``_config.yml``. ``PDLIB_REPOSITORY`` wins, as ``URL`` or ``URL#branch``.

    Raises
    ------
    PublishError
        When the address is not one that Binder and Colab open.
    """
    given = config.get("repository") or {}
    url, branch = str(given.get("url") or ""), str(given.get("branch") or "")
    where = "_config.yml, repository"
    if os.environ.get(VARIABLE):
        url, _, branch = os.environ[VARIABLE].partition("#")
        where = VARIABLE
    if not url:
        return None
    address, branch = _ADDRESS.fullmatch(url), branch or "main"
    if not address or not _BRANCH.fullmatch(branch):
        raise PublishError(
            f"{where}: {url!r}, branch {branch!r} is not an address that Binder and Colab open",
            "write it like https://github.com/owner/name, with a branch without slashes",
        )
    return Repository(*address.groups(), branch)


def with_buttons(config: Mapping[str, Any], repository: Repository | None) -> dict[str, Any]:
    """``_config.yml`` as the builder gets it: with launch buttons, or without any key of them."""
    plain = {name: value for name, value in config.items() if name not in ("repository", "launch_buttons")}
    if repository is None:
        return plain
    buttons = {"notebook_interface": "jupyterlab", "binderhub_url": BINDER}
    if repository.host == "github":
        buttons["colab_url"] = COLAB
    return plain | {
        "repository": {"url": repository.url, "branch": repository.branch, "path_to_book": ""},
        "launch_buttons": buttons,
    }


def how_to_run(chapter: Chapter, profile: str, repository: Repository | None, more: str = "") -> str:
    """A folded box for a chapter's page: the clean notebook, the commands, and the buttons' addresses in words.

    Parameters
    ----------
    profile : str
        The profile the page was made with.
    more : str
        The page that says more, relative to the book's root and without ending; empty for none.
    """
    path = f"notebooks/{chapter.path.name}"
    lines = [
        "::::{admonition} Run this chapter yourself",
        ":class: dropdown tip pd-run",
        f'Take <a href="../_static/{path}" download>the notebook without outputs</a>, or run it in a copy of the '
        "repository, after `make environment` and `source .venv/bin/activate`:",
        "",
        "```bash",
        f"python -m pdlib run --profile {profile} --only {chapter.number}",
        "# its parameters",
        f"papermill --help-notebook {path}",
        "# papermill alone",
        f"papermill {path} mine.ipynb",
        "# in JupyterLab",
        "make lab",
        "```",
    ]
    if repository:
        links = [f"[Binder]({repository.binder(path)})"]
        links += [f"[Colab]({repository.colab(path)})"] if repository.colab(path) else []
        lines += ["", f"Without installing anything: {' or '.join(links)}, which are run by others."]
    lines += ["", f"[More ways, and what is kept](../{more}.md)."] if more else []
    return "\n".join([*lines, "::::"])
