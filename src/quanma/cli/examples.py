"""An example or two for each command, shown at the end of its --help. A test parses every one of them."""

from __future__ import annotations

import click

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("quanma demo", "quanma demo --codes 1000000"),
    "init": (
        "quanma init world",
        "quanma init world --port 8461 --mchid 1900000001 --mchid 1900000002",
        "quanma init shop --live --mchid 1900000001",
    ),
    "sandbox": ("quanma sandbox", "quanma sandbox --port 8461 --clock 2026-11-24T00:00:00+08:00 --random-seed 7"),
    "sandbox env": ("quanma sandbox env > sandbox.env", "quanma sandbox env --format json"),
    "serve": (
        "quanma serve --config world/platform.toml",
        "quanma serve --config world/platform.toml --database postgresql://quanma@localhost/quanma --workers 4",
    ),
    "migrate": ("quanma migrate --config world/platform.toml",),
    "backup": (
        "quanma backup --config world/platform.toml backup.db",
        "quanma backup --config world/platform.toml --keep 14 /var/lib/quanma-backups",
    ),
    "fence": ("quanma fence --config world/platform.toml",),
    "reconcile": (
        "quanma reconcile --config world/platform.toml",
        "quanma reconcile --config world/platform.toml --issued issued.csv",
    ),
    "export": ("quanma export --config world/platform.toml pool.quanma",),
    "import": ("quanma import --config world/platform.toml pool.quanma",),
    "upload": (
        "quanma upload codes.txt --stock 98065001 --dry-run",
        "quanma upload codes.txt --stock 98065001",
        "quanma upload codes.txt --stock 98065001 --resume",
        "quanma upload codes.xlsx --stock 98065001 --column 券码",
    ),
    "upload-status": ("quanma upload-status codes.txt.98065001.quanma",),
    "report": ("quanma report codes.txt.98065001.quanma --out report",),
    "verify": ("quanma verify codes.txt.98065001.quanma",),
    "listen": ("quanma listen --port 8470 --ledger events.jsonl",),
    "platform": ("quanma platform rotate-key --config world/platform.toml",),
    "platform rotate-key": ("quanma platform rotate-key --config world/platform.toml --kind public-key",),
    "codes": (
        "quanma codes generate 1000 --out codes.txt",
        "quanma codes check codes.txt",
        "quanma codes list --stock 98065001",
    ),
    "codes generate": (
        "quanma codes generate 1000 --out codes.txt",
        "quanma codes generate 10 --prefix SUMMER --length 12",
    ),
    "codes check": ("quanma codes check codes.txt", "quanma codes check codes.xlsx --column 券码"),
    "codes list": ("quanma codes list --stock 98065001 --status AVAILABLE", "quanma codes list --stock 98065001 --all"),
    "stock": (
        "quanma stock create --name 八月一日活动券 --max 1000000",
        "quanma stock list",
        "quanma stock show 98065001",
    ),
    "stock create": (
        "quanma stock create --name 八月一日活动券 --max 1000000",
        "quanma stock create --name 九折券 --max 5000 --percent 90 --days 30",
        "stock_id=$(quanma stock create --name 八月一日活动券 --max 1000000 --get stock_id)",
    ),
    "stock list": ("quanma stock list", "quanma stock list --json"),
    "stock show": ("quanma stock show 98065001", "quanma stock show 98065001 --get coupon_code_count.available_count"),
    "send": (
        "quanma send --stock 98065001 --openid oUpF8uMuAJO_M2pxb1Q9zNjWeS6o --appid wx233544546545989",
        "quanma send --stock 98065001 --get coupon_code",
    ),
    "use": ("quanma use ABC9588200 --stock 98065001 --appid wx233544546545989",),
    "events": ("quanma events", "quanma events --undelivered", "quanma events --resend 6b1e6b5e-0001"),
    "api": (
        "quanma api",
        "quanma api coupons.send --help",
        "quanma api couponcodes.get --stock_id 98065001 --get total_count",
        "quanma api busifavor.stocks.post --data @stock.json",
    ),
    "request": (
        "quanma request GET /v3/certificates",
        "quanma request POST /v3/refund/domestic/refunds --data @refund.json",
    ),
    "watch": (
        "quanma watch --stock 98065001 --below 1000 --state watch.json",
        "quanma watch --stock 98065001 --below 1000 --every 60 --webhook https://shop.example.com/low",
    ),
    "refill": (
        "quanma refill codes-1.txt codes-2.txt --stock 98065001 --below 1000",
        "quanma refill codes-1.txt codes-2.txt --stock 98065001 --below 1000 --every 60",
    ),
    "sign": (
        "quanma sign GET /v3/certificates",
        "quanma sign POST /v3/security/echo --data @echo.json --curl",
    ),
    "openapi": ("quanma openapi > openapi.json", "quanma openapi --server http://127.0.0.1:8460"),
    "status": ("quanma status", "quanma status --config shop/quanma.toml"),
    "doctor": (
        "quanma doctor",
        "quanma doctor clock keys",
        "quanma doctor --callback https://shop.example.com/wechatpay/events",
        "quanma doctor --bundle doctor.zip",
    ),
    "completion": ("quanma completion bash > ~/.local/share/bash-completion/completions/quanma",),
}


def epilog(path: str) -> str:
    """The examples of a command, by its words after `quanma`, as click prints them unwrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[path]) if path in EXAMPLES else ""


def with_examples(command: click.Command, path: str) -> click.Command:
    """The command with its examples, and those below it with theirs."""
    command.epilog = epilog(path) or command.epilog
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            with_examples(below, f"{path} {name}")
    return command
