"""Small twins of foreign files, each with the quirks of the real ones, for the tests of the readers."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trajrl import Episode, TrajectoryStore
from trajrl.core.rng import stream
from trajrl.formats import open_source
from trajrl.formats.base.source import Source

Arrays = dict[str, Any]
WIDTHS = {"object": 4, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "extra": 1}


def shared(name: str) -> Path:
    """Return a real file, or skip the test with the reason."""
    root = Path(os.environ.get("TRAJRL_SHARED") or Path(__file__).parents[2] / "../shared") / "data"
    if not (root / name).exists():
        pytest.skip("no real files: ../shared is absent; synthetic twins cover their quirks")
    return root / name


def normal(name: str, *shape: int, seed: int = 0) -> np.ndarray:
    """Return random numbers, the same for the same name."""
    return stream(seed, name).standard_normal(shape).astype(np.float32)


def at(count: int, *rows: int) -> np.ndarray:
    """Return flags that are True at some rows."""
    return np.isin(np.arange(count), rows)


def hdf5(path: Path, arrays: Arrays, attributes: Arrays | None = None) -> Path:
    """Write an HDF5 file; names with a slash make groups, an empty dictionary an empty group."""
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            if isinstance(value, dict):
                file.create_group(name)
            else:
                file[name] = value
        for name, value in (attributes or {}).items():
            place, _, key = name.rpartition("@")
            file[place or "/"].attrs[key] = value
    return path


def d4rl(
    count: int = 20, widths: tuple[int, int] = (11, 3), ends: tuple[int, ...] = (9, 19), **more: Any
) -> Arrays:
    """Return the columns of a D4RL file: timeouts at `ends`, no terminals, no next observations."""
    found = {
        "observations": normal("obs", count, widths[0]), "actions": np.tanh(normal("act", count, widths[1])),
        "rewards": normal("rew", count), "terminals": at(count), "timeouts": at(count, *ends),
    }  # fmt: skip
    return {name: value for name, value in {**found, **more}.items() if value is not None}


def chained(arrays: Arrays, ends: tuple[int, ...]) -> Arrays:
    """Add next observations: the following row inside episodes, a row of its own at the ends."""
    after = np.roll(arrays["observations"], -1, axis=0)
    after[list(ends)] += 100
    return {**arrays, "next_observations": after}


def robomimic(demos: dict[str, int], next_obs: bool = True, success: bool = True) -> Arrays:
    """Return the groups of a robomimic file; a success has reward and done 1 on its last two steps."""
    found: Arrays = {}
    for demo, length in demos.items():
        place, solved = f"data/{demo}", at(length, length - 2, length - 1) & success
        obs = {
            key: normal(f"{demo}/{key}", length + 1, width).astype(np.float64)
            for key, width in WIDTHS.items()
        }  # fmt: skip
        found |= {f"{place}/obs/{key}": value[:-1] for key, value in obs.items()}
        found |= {f"{place}/next_obs/{key}": value[1:] for key, value in obs.items() if next_obs}
        found |= {
            f"{place}/actions": np.tanh(normal(demo, length, 7)).astype(np.float64),
            f"{place}/states": normal(demo, length, 5),
            f"{place}/rewards": solved.astype(np.float64), f"{place}/dones": solved.astype(np.int64),
        }  # fmt: skip
    return found


def minari(lengths: list[int], terminated: bool = True) -> Arrays:
    """Return the groups of a Minari file."""
    found: Arrays = {}
    for number, length in enumerate(lengths):
        place, last = f"episode_{number}", at(length, length - 1)
        found |= {
            f"{place}/observations": normal("obs", length + 1, 3, seed=number).astype(np.float64),
            f"{place}/actions": np.tanh(normal("act", length, 2, seed=number)),
            f"{place}/rewards": normal("rew", length, seed=number).astype(np.float64),
            f"{place}/terminations": last & terminated,
            f"{place}/truncations": last & (not terminated),
            f"{place}/infos": {},
        }  # fmt: skip
    return found


def minari_set(folder: Path, arrays: Arrays, **metadata: Any) -> Path:
    """Write a Minari data set and return its folder."""
    (folder / "data").mkdir(parents=True)
    hdf5(folder / "data" / "main_data.hdf5", arrays)
    (folder / "data" / "metadata.json").write_text(json.dumps({"data_format": "hdf5", **metadata}))
    return folder


def ogbench(lengths: list[int], seed: int = 0, **more: Any) -> Arrays:
    """Return the members of an OGBench file: one row more than actions in each trajectory."""
    rows = sum(lengths) + len(lengths)
    return {
        "observations": normal("obs", rows, 4, seed=seed),
        "actions": np.tanh(normal("act", rows, 2, seed=seed)),
        "terminals": at(rows, *(np.cumsum(np.array(lengths) + 1) - 1)),
        "qpos": normal("qpos", rows, 3, seed=seed),
        "button_states": np.arange(2 * rows).reshape(rows, 2), **more,
    }  # fmt: skip


def lerobot(lengths: list[int], **more: Any) -> Arrays:
    """Return the columns of a LeRobot set: as many observations as actions, done and success at the ends."""
    count = sum(lengths)
    frame = np.concatenate([np.arange(length) for length in lengths])
    ends = at(count, *(np.cumsum(lengths) - 1))
    found = {
        "observation.state": normal("obs", count, 3), "action": np.tanh(normal("act", count, 2)),
        "next.reward": normal("rew", count), "next.done": ends, "next.success": ends,
        "timestamp": (frame / 10).astype(np.float32), "frame_index": frame,
        "episode_index": np.repeat(np.arange(len(lengths)), lengths), "index": np.arange(count),
        "task_index": np.repeat(np.arange(len(lengths)) % 2, lengths), **more,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def lerobot_set(
    folder: Path, arrays: Arrays, version: str = "v3.0", lengths: list[int] | None = None, **info: Any
) -> Path:
    """Write a LeRobot set as its own package lays it out; rows that a short column lacks have no value."""
    number = arrays["episode_index"]
    if lengths is None:
        lengths = np.bincount(number).tolist()
    (folder / "meta").mkdir(parents=True)
    features = {
        name: {"dtype": str(value.dtype), "shape": list(value.shape[1:]) or [1], "names": None}
        for name, value in arrays.items()
    }  # fmt: skip
    said = {
        "codebase_version": version, "robot_type": "arm", "total_episodes": len(lengths),
        "total_frames": len(number), "fps": 10, "features": features, **info,
    }  # fmt: skip
    (folder / "meta" / "info.json").write_text(json.dumps(said))
    tasks, stops = ["push", "pull"], np.cumsum(lengths).tolist()
    rows = [
        {"episode_index": e, "tasks": [tasks[e % 2]], "length": length, "data/chunk_index": 0,
         "data/file_index": 0, "dataset_from_index": stop - length, "dataset_to_index": stop}
        for e, (length, stop) in enumerate(zip(lengths, stops))
    ]  # fmt: skip
    if version == "v3.0":
        parquet(folder / "data/chunk-000/file-000.parquet", table(arrays))
        table_of_tasks = pa.table({"task_index": [0, 1], "__index_level_0__": tasks})
        parquet(folder / "meta/tasks.parquet", table_of_tasks)
        parquet(folder / "meta/episodes/chunk-000/file-000.parquet", pa.Table.from_pylist(rows))
        return folder
    for e in np.unique(number):
        part = {name: value[: len(number)][number == e] for name, value in arrays.items()}
        content = table(part, fixed=version != "v2.0")  # older writers fixed no length
        parquet(folder / f"data/chunk-000/episode_{e:06d}.parquet", content)
    lines = [{name: row[name] for name in ("episode_index", "tasks", "length")} for row in rows]
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "meta/tasks.jsonl").write_text(
        "".join(json.dumps({"task_index": i, "task": task}) + "\n" for i, task in enumerate(tasks))
    )
    return folder


def replay_buffer(lengths: list[int], **more: Any) -> Arrays:
    """Return the arrays of a diffusion_policy replay buffer: as many observations as actions, no rewards."""
    count = sum(lengths)
    found = {
        "data/state": normal("obs", count, 5), "data/action": np.tanh(normal("act", count, 2)),
        "data/keypoint": normal("key", count, 3, 2), "data/n_contacts": np.ones((count, 1), np.float32),
        "data/img": np.zeros((count, 8, 8, 3), np.float32), "meta/episode_ends": np.cumsum(lengths), **more,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def zarr_store(path: Path, arrays: Arrays, codec: str | None = "zlib", rows: int = 4, **said: Any) -> Path:
    """Write a zarr store of version 2: a folder, or a zip where the name says so."""
    packed = {None: bytes, "zlib": zlib.compress, "gzip": gzip.compress, "bz2": bz2.compress}
    packed["zstd"] = lambda raw: bytes(pa.compress(raw, "zstd"))
    packed["lz4"] = lambda raw: len(raw).to_bytes(4, "little") + bytes(pa.compress(raw, "lz4_raw"))
    files = {".zgroup": b'{"zarr_format": 2}'}
    for name, value in arrays.items():
        chunks = (max(1, min(rows, len(value))), *(-(-n // 2) for n in value.shape[1:]))
        files[f"{name}/.zarray"] = json.dumps({
            "zarr_format": 2, "shape": value.shape, "chunks": chunks, "dtype": value.dtype.str, "order": "C",
            "compressor": {"id": codec} if codec else None, "fill_value": 0, "filters": None, **said,
        }).encode()  # fmt: skip
        for index in np.ndindex(*(-(-n // c) for n, c in zip(value.shape, chunks))):
            part = value[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks))]
            whole = np.zeros(chunks, value.dtype)
            whole[tuple(map(slice, part.shape))] = part
            files[f"{name}/{'.'.join(map(str, index))}"] = packed[codec](whole.tobytes())
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, raw in files.items():
                archive.writestr(name, raw)
        return path
    for name, raw in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(raw)
    return path


def rlds(lengths: list[int], **more: Any) -> list[Arrays]:
    """Return the steps of RLDS episodes: one more than actions, whose own action and reward mean nothing."""
    found = []
    for number, length in enumerate(lengths):
        rows, texts = length + 1, [b"push" if number % 2 == 0 else b"pull"] * (length + 1)
        steps = {
            "observation/state": normal("obs", rows, 3, seed=number), "observation/image": [b"jpeg"] * rows,
            "action": np.tanh(normal("act", rows, 2, seed=number)),
            "reward": normal("rew", rows, seed=number) * ~at(rows, length), "is_first": at(rows, 0),
            "is_last": at(rows, length), "is_terminal": at(rows, length) & (number % 2 == 0),
            "discount": np.ones(rows, np.float32), "language_instruction": texts, **more,
        }  # fmt: skip
        found.append({name: value for name, value in steps.items() if value is not None})
    return found


def example(steps: Arrays) -> bytes:
    """Return steps as TFDS puts them into a record, by protobuf's own package."""
    features = Example().features.feature
    for name, value in steps.items():
        if isinstance(value, list):
            features[f"steps/{name}"].bytes_list.value.extend(value)
        elif value.dtype.kind == "f":
            features[f"steps/{name}"].float_list.value.extend(value.ravel().tolist())
        else:
            features[f"steps/{name}"].int64_list.value.extend(value.ravel().astype(int).tolist())
    message = Example()
    message.features.MergeFrom(Features(feature=features))
    return message.SerializeToString()


def _messages() -> tuple[Any, Any]:
    """Return the classes of tf.train.Example and Features, made from their description."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    for name, kind in (
        ("BytesList", kinds.TYPE_BYTES),
        ("FloatList", kinds.TYPE_FLOAT),
        ("Int64List", kinds.TYPE_INT64),
    ):
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=3)
    feature = file.message_type.add(name="Feature")
    for number, name in enumerate(("bytes_list", "float_list", "int64_list"), 1):
        kind = name.title().replace("_", "")
        feature.field.add(name=name, number=number, type=11, type_name=f".t.{kind}", label=1)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, type=11, type_name=".t.Feature", label=1)
    features.field.add(name="feature", number=1, type=11, type_name=".t.Features.FeatureEntry", label=3)
    file.message_type.add(name="Example").field.add(
        name="features", number=1, type=11, type_name=".t.Features", label=1
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"t.{name}") for name in ("Example", "Features")]
    return tuple(message_factory.GetMessageClass(one) for one in found)


Example, Features = _messages()


def tfrecord(path: Path, records: list[bytes]) -> Path:
    """Write a TFRecord file by TensorBoard's own writer."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    with path.open("wb") as file:
        writer = RecordWriter(file)
        for record in records:
            writer.write(record)
        writer.flush()
    return path


def rlds_set(folder: Path, episodes: list[Arrays], shards: int = 1, **said: Any) -> Path:
    """Write a TFDS folder: shards of a training split, features.json and dataset_info.json."""
    folder.mkdir(parents=True)
    parts = [episodes[n::shards] for n in range(shards)]
    for number, part in enumerate(parts):
        name = f"x-train.tfrecord-{number:05d}-of-{shards:05d}"
        tfrecord(folder / name, [example(steps) for steps in part])
    tree: Arrays = {}
    for name, value in episodes[0].items():
        *places, leaf = name.split("/")
        inner = tree
        for place in places:
            inner = inner.setdefault(place, {"featuresDict": {"features": {}}})["featuresDict"]["features"]
        inner[leaf] = _described(leaf, value)
    steps = {"sequence": {"feature": {"featuresDict": {"features": tree}}, "length": "-1"}}
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": {"steps": steps}}}))
    lengths = [str(len(part)) for part in parts]
    info = {"name": "x", "version": "1.0.0", "fileFormat": "tfrecord", **said}
    info["splits"] = [{"name": "train", "shardLengths": lengths}]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def _described(name: str, value: Any) -> Arrays:
    """Return what features.json says of one feature."""
    if isinstance(value, list):
        image = {"shape": {"dimensions": ["64", "64", "3"]}, "dtype": "uint8", "encodingFormat": "jpeg"}
        return {"image": image} if name == "image" else {"text": {}}
    shape = {"dimensions": [str(n) for n in value.shape[1:]]} if value.ndim > 1 else {}
    return {"tensor": {"shape": shape, "dtype": str(value.dtype), "encoding": "none"}}


def table(arrays: Arrays, fixed: bool = True) -> pa.Table:
    """Return columns as a table: vectors are lists, of a fixed size where that is asked for."""
    count = max(len(value) for value in arrays.values())
    columns = {}
    for name, value in arrays.items():
        rows = value.reshape(len(value), -1)
        column = pa.array(rows.ravel())
        if value.ndim > 1:
            column = pa.FixedSizeListArray.from_arrays(column, rows.shape[1])
            column = column if fixed else column.cast(pa.list_(column.type.value_type))
        lacking = pa.nulls(count - len(column), column.type)
        columns[name] = pa.chunked_array([column, lacking])
    return pa.table(columns)


def parquet(path: Path, content: pa.Table) -> Path:
    """Write a parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, path)
    return path


def npz(path: Path, arrays: Arrays) -> Path:
    """Write an npz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def pickled(path: Path, value: Any, protocol: int = 4) -> Path:
    """Write a pickle."""
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def read(path: Path, format: str = "auto", **options: Any) -> tuple[list[Episode], Source]:
    """Return the episodes of a file and the source, whose notes are then complete."""
    source = open_source(path, format, **options)
    return list(source.episodes()), source


def assert_same(left: Episode, right: Episode) -> None:
    """Compare two episodes, number by number."""
    for name in ("obs", "actions", "rewards"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert (left.terminated, left.success, left.source) == (right.terminated, right.success, right.source)
    assert set(left.extras) == set(right.extras)
    for name, column in left.extras.items():
        np.testing.assert_array_equal(column, right.extras[name])
        assert column.dtype == right.extras[name].dtype


def store_of(episodes: list[Episode], **attributes: Any) -> TrajectoryStore:
    """Return a store in memory."""
    store = TrajectoryStore.of(episodes)
    store.attributes.update(attributes)
    return store
