"""The Java that Spark needs, which is the user's."""

import os
import re
import shutil
import subprocess

from twinhead.errors import InputError

LEAST = 17
"""The oldest Java that this Spark runs on."""
MODULE = "jdk.incubator.vector"
"""Spark starts Java with it, and a Java that was cut down to a few modules lacks it."""


def check() -> None:
    """Raise InputError where there is no Java that Spark can run on. It takes a tenth of a second.

    Under spark-submit, which is a Java, nothing is looked for.
    """
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        return
    home = os.environ.get("JAVA_HOME")
    program = os.path.join(home, "bin", "java") if home else shutil.which("java")
    wanted = f"Spark needs a Java, {LEAST} or newer"
    if program is None:
        raise InputError(f"{wanted}: there is none in PATH, and JAVA_HOME names none")
    try:
        output = subprocess.run([program, "-version"], capture_output=True, text=True).stderr
    except OSError as error:
        raise InputError(f"{wanted}: {program} can't be run ({error.strerror})") from None
    found = re.search(r'version "(?:1\.)?(\d+)', output)
    if found is None:
        raise InputError(f"{wanted}: {program} doesn't say its version")
    if int(found[1]) < LEAST:
        raise InputError(f"{wanted}: {program} is Java {found[1]}")
    whole = subprocess.run([program, f"--add-modules={MODULE}", "-version"], capture_output=True)
    if whole.returncode:
        raise InputError(f"{wanted}, and a whole one: {program} lacks the module {MODULE}")
