import pytest

from harness.data.cache import atomic_path


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "folder" / "file.txt"
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list((tmp_path / "folder").iterdir()) == []
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file.txt"]


def test_a_folder_that_another_process_finished_first_is_kept(tmp_path):
    target = tmp_path / "model"
    with atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "mine").touch()
        target.mkdir()
        (target / "theirs").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in target.iterdir()] == ["theirs"]
