"""What a record says of the machine and the code."""

import os
import subprocess

from harness.record import environment


def test_looking_at_the_checkout_does_not_write_its_index(tmp_path, monkeypatch):
    """A plain `git status` takes the index's lock to refresh it; killed meanwhile, it leaves the lock to the user."""

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("text")
    git("add", "file")
    git("commit", "-m", "one")
    os.utime(tmp_path / "file", (1, 1))  # As it was, and git does not know it before it looks.
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "harness" / "record" / "environment.py"))
    before = (tmp_path / ".git" / "index").read_bytes()
    assert environment._is_dirty() is False
    assert (tmp_path / ".git" / "index").read_bytes() == before
    (tmp_path / "file").write_text("other")
    assert environment._is_dirty() is True
