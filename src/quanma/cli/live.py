"""`quanma init --live DIR`: a commented template of a real merchant's settings."""

from __future__ import annotations

from pathlib import Path

from ..errors import Misconfigured
from ..storage import private

SCHEMA = "quanma.schema.json"
"""Beside the settings: an editor completes and checks with it."""
TEMPLATE = f"""\
#:schema {SCHEMA}
# 真实商户的设置：把“填写”的几项填好，把密钥文件放进本目录（chmod 600）。
# Settings of a real merchant: fill in what says 填写, put the key files here (chmod 600).
# 检查 / Check:  export QUANMA_CONFIG={{file}}; quanma doctor

[merchant]
# 商户号。pay.weixin.qq.com → 账户中心 → 商户信息
mchid = "{{mchid}}"
# 商户 API 证书的序列号：openssl x509 -noout -serial -in apiclient_cert.pem
serial_no = "填写"
# 商户 API 私钥，与上面的证书成对。权限 0600。也可以放在环境变量 QUANMA_PRIVATE_KEY 里（PEM 正文）
private_key = "apiclient_key.pem"
# APIv3 密钥，32 个字符：收事件、取平台证书要用。账户中心 → API 安全。也可以用 QUANMA_APIV3_KEY
# apiv3_key = "填写"
# APIv2 密钥，32 个字符：只用来签领券链接。也可以用 QUANMA_APIV2_KEY
# apiv2_key = "填写"
# 不写 base_url，就是 https://api.mch.weixin.qq.com，备用域名自动带上

# 验签用：微信支付公钥（API 安全 → 微信支付公钥，公钥 ID 和 pub_key.pem）。
# 还在用平台证书的商户可以不写：有 apiv3_key，证书会自动下载。
[merchant.platform_keys]
# "PUB_KEY_ID_填写" = "pub_key.pem"
"""


def write(folder: Path, mchid: str | None) -> Path:
    """Write the template into a folder, with a .gitignore that keeps its keys out of a repository.

    Raises:
        Misconfigured: settings are there already, or the folder can't be written. Nothing was overwritten.
    """
    file = folder / "quanma.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.exists() or file.is_symlink():
            raise Misconfigured(f"{file} is there already: settings are never overwritten, name another folder")
        with open(private.make(file), "w", encoding="utf-8") as opened:
            opened.write(TEMPLATE.format(file=file.resolve(), mchid=mchid or "填写"))
        ignore_all(folder)
    except OSError as problem:
        raise Misconfigured(f"{problem.filename or folder} can't be written: {problem.strerror}") from None
    return file


def ignore_all(folder: Path) -> None:
    """Keep what is in a folder out of a git repository, if it says nothing of it yet."""
    ignoring = folder / ".gitignore"
    if not ignoring.exists() and not ignoring.is_symlink():
        with open(private.make(ignoring), "w", encoding="utf-8") as opened:
            opened.write("*\n")
