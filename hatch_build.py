"""Compiles what reads and judges to machine code, for wheels built with BOUNCED_COMPILE=1.

mypyc (of mypy) makes C of the typed modules that `pyproject.toml` names; the same sources run as
Python where they are not compiled, and lie beside the compiled ones in the wheel. Needs a C
compiler. It works on a copy: no checkout is left with modules that are not what it says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASKED = "BOUNCED_COMPILE"
_SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup

modules = mypycify(["--config-file", sys.argv.pop(), *{files!r}], group_name="bounced")
setup(name="bounced-mail", packages=[], ext_modules=modules)
"""


class CompileHook(BuildHookInterface[Any]):
    """The build hook `custom` of hatchling, with the list `modules` (files below the root)."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What has to be installed for the build, beside hatchling."""
        return ["mypy>=2.4,<3", "setuptools"] if _asked() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the compiled modules packed beside their sources."""
        if not _asked():
            return
        if version == "editable":
            raise SystemExit(
                f"{ASKED} is for wheels: an editable install runs what the sources say at any time."
                f" Type: {ASKED}=1 pip install ."
            )
        self._place = tempfile.TemporaryDirectory()
        work = Path(self._place.name)
        shutil.copytree(Path(self.root, "bounced"), work / "bounced")
        _compile(work, self.config["modules"], Path(self.root, "pyproject.toml"))
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        compiled = {str(path): str(path.relative_to(work)) for path in work.glob(f"*{suffix}")}
        compiled |= {
            str(path): str(path.relative_to(work)) for path in work.glob(f"bounced/**/*{suffix}")
        }
        build_data["force_include"] |= compiled
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's names
        """Drop the copy that was compiled."""
        if _asked():
            self._place.cleanup()


def _asked() -> bool:
    return os.environ.get(ASKED, "0") not in ("", "0")


def _compile(work: Path, files: list[str], config: Path) -> None:
    """Put the compiled modules beside their sources in `work`."""
    setup = work / "setup.py"
    setup.write_text(_SETUP.format(files=files), "utf-8")
    command = [sys.executable, setup.name, "-q", "build_ext", "--inplace", str(config)]
    done = subprocess.run(command, cwd=work, check=False, capture_output=True, text=True)  # noqa: S603 - our own
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(
            "could not be compiled, see above (it takes a C compiler and Python's headers)."
            f" To do without: unset {ASKED}"
        )
