"""Print the oldest versions that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
for requirement in sum(project["optional-dependencies"].values(), project["dependencies"]):
    if found := re.match(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", requirement):
        print("==".join(found.groups()))
