"""``mmviewer doctor``: what this machine offers and what is missing."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from mmviewer.cli.console import DONE, print_json, print_line, print_table
from mmviewer.cli.options import Subparsers, add_command


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = """\
  {"mmviewer", "python", "platform": str, "packages": {name: version | null},
   "devices": {"found": [...], "chosen": str, "dtype": str, "reason": str},
   "audio": {"outputs": [str], "inputs": [str], "reason": str}, "display": {"available": bool, "reason": str},
   "starter": {"present": bool, "path": str, "size": int}, "folders": {...},
   "missing": [{"what": str, "consequence": str, "remedy": str}]}"""
    add_command(subparsers, "doctor", "Tell what this machine offers and what is missing", run, shape)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer.core.doctor import Missing, display, report

    facts, missing = report()
    facts["audio"] = _audio_devices(missing)
    available, reason = display()
    facts["display"] = {"available": available, "reason": reason}
    if not available:
        missing.append(Missing("display", f"no window can open: {reason}", "log in to a desktop or use Xvfb"))
    facts["missing"] = [asdict(item) for item in missing]
    if options.json:
        print_json(facts)
        return DONE
    devices = facts["devices"]
    print_line(f"mmviewer {facts['mmviewer']}, Python {facts['python']}, {facts['platform']}")
    print_line(f"models run on: {devices['chosen']} in {devices['dtype']} ({devices['reason']})")
    print_line(f"starter model: {facts['starter']['path'] if facts['starter']['present'] else 'missing'}")
    print_line(f"display: {reason}")
    print_line(f"sound: {', '.join(facts['audio']['outputs']) or facts['audio']['reason']}")
    print_table((name, version or "missing") for name, version in facts["packages"].items())
    for item in missing:
        print_line(f"missing: {item.what} – {item.consequence}. {item.remedy}")
    return DONE


def _audio_devices(missing: list[Any]) -> dict[str, Any]:
    from mmviewer.core.doctor import Missing

    try:
        import sounddevice

        listed = [dict(device) for device in sounddevice.query_devices()]
    except Exception as error:  # noqa: BLE001 - PortAudio is foreign code; the doctor reports whatever it does
        missing.append(Missing("PortAudio", f"sounds cannot be played: {error}", "install libportaudio2"))
        return {"outputs": [], "inputs": [], "reason": str(error)}
    outputs = [str(device["name"]) for device in listed if device["max_output_channels"] > 0]
    inputs = [str(device["name"]) for device in listed if device["max_input_channels"] > 0]
    if not outputs:
        missing.append(Missing("sound output", "sounds cannot be played", "connect or enable a sound device"))
    return {"outputs": outputs, "inputs": inputs, "reason": "" if outputs else "no sound output was found"}
