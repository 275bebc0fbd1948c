// wechatpay-node-v3, unmodified, pointed at the platform that $INTEROP describes.
//
// Its own functions are for payments. Whoever calls another path signs with `buildAuthorization`, takes its headers,
// and sends with the HTTP service that `createHttp` sets: ours is superagent, as its own is, and checks each answer.
import { readFileSync } from 'node:fs';
import Pay from 'wechatpay-node-v3';
import superagent from 'superagent';

export const config = JSON.parse(process.env.INTEROP);
const OFFICIAL = 'https://api.mch.weixin.qq.com';

export const pay = new Pay({
  appid: config.appid,
  mchid: config.mchid,
  publicKey: readFileSync(config.certificate),
  privateKey: readFileSync(config.private_key),
  key: config.apiv3_key,
});
Pay.certificates = Object.fromEntries(
  Object.entries(config.platform_keys).map(([name, path]) => [name, readFileSync(path, 'utf8')]));

const [asked_for] = Object.keys(config.platform_keys);

/**
 * Send what it signed, and have it verify the answer. Errors are answers too.
 *
 * The key is named: it fetches the certificates for an unknown one, and asks to verify that answer too, without end.
 */
async function send(method, url, headers, body) {
  const request = superagent(method, url.replace(OFFICIAL, config.base_url))
    .set({ ...headers, 'Wechatpay-Serial': asked_for }).ok(() => true);
  const { status, text, body: data, headers: told } = await (body === undefined ? request : request.send(body));
  const verified = await pay.verifySign({
    timestamp: told['wechatpay-timestamp'],
    nonce: told['wechatpay-nonce'],
    serial: told['wechatpay-serial'],
    signature: told['wechatpay-signature'],
    body: text ?? '',
  });
  if (!verified) throw new Error(`the answer of ${method} ${url} does not verify`);
  return { status, data };
}

pay.createHttp({
  get: (url, headers) => send('GET', url, headers),
  post: (url, params, headers) => send('POST', url, headers, params),
});

/** Any path: `params` is the JSON body, `sent` what is sent in its place, with its content type. */
export async function ask(method, path, params, sent, contentType = 'application/json') {
  const authorization = pay.buildAuthorization(method, OFFICIAL + path, params);
  const headers = pay.getHeaders(authorization, params === undefined ? {} : { 'Content-Type': contentType });
  return send(method, OFFICIAL + path, headers, sent ?? params);
}

/** Print one line of JSON: what the platform answered to `step`. */
export const tell = (step, data) => console.log(JSON.stringify({ step, data }));
