"""Every file is written through atomic_files or plain_file: a source search finds no other way."""

import ast
from pathlib import Path

import trajrl

PACKAGE = Path(trajrl.__file__).parent
METHODS = {
    "write_text",
    "write_bytes",
    "to_parquet",
    "to_csv",
    "savetxt",
    "savez",
    "touch",
    "write_table",
}
ALLOWED = {  # what writes below a scratch folder of its own, or where the line above says
    "cli/bench": "temporary folders of a benchmark",
    "cli/main.py": "the null device",
    "cli/protocol_results.py": "a new_file",
    "core/atomic_files.py": "is the rule",
    "core/owner_key.py": "a name of random letters, made O_EXCL",
    "core/compile.py": "a temporary folder",
    "formats/base/hdf5.py": "the new_file of an exporter",
    "formats/lerobot/export.py": "a new_folder",
    "formats/lerobot/listing.py": "the new_folder of the exporter",
    "formats/lerobot/write_images.py": "the new_folder of the exporter",
    "formats/lerobot/write_videos.py": "the new_folder of the exporter",
    "formats/lerobot/writer.py": "the new_folder of the exporter",
    "formats/minari/export.py": "a new_folder",
    "nets/kernel.py": "a temporary folder",
    "formats/npz/writer.py": "a member of an archive in a Scratch",
    "report/draw/tensorboard.py": "a new_file",
    "report/page/watch.py": "a new_file",
    "report/runs/cache.py": "a new_file",
    "rollout/export.py": "the Scratch of cli/export.py",
    "samplers/clustering/labels.py": "a new_file",
    "store/file/pack.py": "a new_file",
    "store/file/spool.py": "the Scratch of a StoreWriter",
    "store/remote/far_head.py": "a new_file",
    "sweep/on_ray.py": "below a folder whose links were looked at",
    "sweep/results.py": "a new_file",
    "training/loop.py": "a new_file",
    "training/run_dir/boards.py": "a temporary folder",
    "training/run_dir/checkpoint.py": "the folder that it has just made",
    "training/run_dir/checkpoint_parts.py": "the folder of a checkpoint that is being made",
    "training/run_dir/csv_log.py": "a new_file",
}


def writes(tree: ast.AST) -> list[tuple[str, int]]:
    """Return the calls of a module that open a path for writing or write one."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
        modes = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        opens = name in ("open", "File", "fdopen") and any(set(m) & set("wax+") and len(m) < 4 for m in modes)
        if opens or (name in METHODS and isinstance(call.func, ast.Attribute)):
            found.append((name, call.lineno))
    return found


def test_no_file_is_written_but_through_a_scratch_folder_or_an_opener_that_follows_no_link():
    loose = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if not any(place.startswith(known) for known in ALLOWED):
            loose += [f"{place}:{line} {name}" for name, line in writes(ast.parse(path.read_text()))]
    assert loose == []


def test_the_search_finds_what_it_is_for():
    source = "p.open('w')\nopen(p, 'wb')\nopen(p, mode='a')\np.write_text(t)\nf.to_parquet(p)\np.open('rb')"
    assert [line for _, line in writes(ast.parse(source))] == [1, 2, 3, 4, 5]
