// wechatpay-axios-plugin, unmodified, pointed at the platform that $INTEROP describes.
import { readFileSync } from 'node:fs';
import { Wechatpay } from 'wechatpay-axios-plugin';

export const config = JSON.parse(process.env.INTEROP);

const pems = Object.entries(config.platform_keys).map(([name, path]) => [name, readFileSync(path, 'utf8')]);

export const wxpay = new Wechatpay({
  mchid: config.mchid,
  serial: config.serial_no,
  privateKey: readFileSync(config.private_key, 'utf8'),
  certs: Object.fromEntries(pems),
  baseURL: config.base_url,
  headers: config.ask_for ? { 'Wechatpay-Serial': config.ask_for } : {},
});

/** Print one line of JSON: what the platform answered to `step`. */
export const tell = (step, data) => console.log(JSON.stringify({ step, data }));
