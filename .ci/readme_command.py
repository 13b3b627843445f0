"""Prints a command that the README promises: the code block after the marker `<!-- NAME -->`."""

import re
import sys

readme = open("README.md", encoding="utf-8").read()
found = re.search(rf"<!-- {sys.argv[1]} -->\s*```\w*\n(.*?)```", readme, re.S)
if found is None:
    sys.exit(f"README.md has no code block after <!-- {sys.argv[1]} -->")
print(found.group(1).strip())
