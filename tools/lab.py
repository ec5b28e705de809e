"""Open JupyterLab on the learner's copies."""

from __future__ import annotations

from pathlib import Path

from course import ROOT, transport_encryption

SETTINGS = ROOT / "tools" / "jupyterlab"


def open_jupyterlab(folder: Path, first: str, others: list[str]) -> None:
    """Run JupyterLab in `folder`, showing the notebook `first`, until the learner stops it.

    `others` are JupyterLab's own options. Its defaults hold for the rest: only this machine can
    reach it, and only with the token that it prints.
    """
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance([
        f"--ServerApp.root_dir={folder.resolve()}",
        f"--LabApp.default_url=/lab/tree/{first}",
        # A layout of its own: windows of other projects do not open here, nor these there.
        f"--LabApp.workspaces_dir={folder.resolve() / '.jupyterlab'}",
        f"--KernelManager.transport_encryption={transport_encryption()}",
        # It asks nobody for news, for updates, or for a list of extensions.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        f"--LabApp.app_settings_dir={SETTINGS}",  # nor does it ask the learner about news
        f"--LabApp.extra_labextensions_path={SETTINGS / 'extensions'}",
        *others,
    ])
