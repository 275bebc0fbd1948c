// The whole life of coupons with wechatpay-node-v3. Prints what was asked for, and each answer.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ask, config, pay, tell } from './pay.mjs';

const { appid, codes, mchid, notify_url, openid, product, stock, use_time } = config;
const BUSIFAVOR = '/v3/marketing/busifavor';

/** Ask, print the answer with what was asked for, and return its data. */
async function asked(method, path, params, ...sent) {
  const { status, data } = await ask(method, path, params, ...sent);
  tell('answered', { method, path, status, data });
  return data;
}

const query = (fields) => `?${new URLSearchParams(fields)}`;

// Its one function for a path that is ours, too.
const certificates = await pay.get_certificates(config.apiv3_key);
tell('certificates', certificates.map(({ serial_no }) => serial_no));

// A signed round trip with a sensitive field, the platform's certificates, a picture for the coupon.
const [name] = Object.keys(config.platform_keys);
const sealed = pay.publicEncrypt('13800138000', readFileSync(config.platform_keys[name]));
const echo = await asked('POST', '/v3/security/echo', { echo_message: '券', encrypted_echo_message: sealed });
tell('opened', pay.privateDecrypt(echo.encrypted_echo_message));
await asked('GET', '/v3/certificates');
const picture = readFileSync(config.picture);
const meta = { filename: 'logo.png', sha256: createHash('sha256').update(picture).digest('hex') };
await asked('POST', '/v3/marketing/favor/media/image-upload', meta, Buffer.concat([
  Buffer.from(`--edge\r\nContent-Disposition: form-data; name="meta"\r\nContent-Type: application/json\r\n\r\n${JSON.stringify(meta)}`),
  Buffer.from('\r\n--edge\r\nContent-Disposition: form-data; name="file"; filename="logo.png"\r\nContent-Type: image/png\r\n\r\n'),
  picture,
  Buffer.from('\r\n--edge--\r\n'),
]), 'multipart/form-data; boundary=edge');

// Where events go, then a stock with its rules, changed before anyone has a coupon.
await asked('POST', `${BUSIFAVOR}/callbacks`, { mchid, notify_url });
await asked('GET', `${BUSIFAVOR}/callbacks${query({ mchid })}`);
const { stock_id } = await asked('POST', `${BUSIFAVOR}/stocks`, stock);
const here = `${BUSIFAVOR}/stocks/${stock_id}`;
await asked('PATCH', here, { out_request_no: 'pay-modify-1', comment: '活动使用' });
await asked('PATCH', `${here}/budget`,
  { modify_budget_request_no: 'pay-budget-1', current_max_coupons: 100, target_max_coupons: 200 });
await asked('GET', here);

// Codes in, each looked at, one to be deleted.
await asked('POST', `${here}/couponcodes`, { coupon_code_list: codes, upload_request_no: 'pay-upload-1' });
await asked('GET', `${here}/couponcodes${query({ limit: 100, offset: 0 })}`);
for (const code of codes) await asked('GET', `${here}/couponcodes/${encodeURIComponent(code)}`);
await asked('DELETE', `${here}/couponcodes/A%201${query({ delete_request_no: 'pay-1' })}`);

// To a user, tied to an order and untied, used, subsidised, given back, and at last made worthless.
const { send_coupon_result: { coupon_code } } = await asked(
  'POST', `${BUSIFAVOR}/coupons/send`, { stock_id, openid, appid, out_request_no: 'pay-send-1' });
await asked('GET', `${BUSIFAVOR}/users/${openid}/coupons${
  query({ appid, stock_id, creator_merchant: mchid, limit: 20, offset: 0 })}`);
await asked('GET', `${BUSIFAVOR}/users/${openid}/coupons/${encodeURIComponent(coupon_code)}/appids/${appid}`);
const coupon = { stock_id, coupon_code };
const order = { ...coupon, out_trade_no: 'MCH_102233445' };
await asked('POST', `${BUSIFAVOR}/coupons/associate`, { ...order, out_request_no: 'pay-associate-1' });
await asked('POST', `${BUSIFAVOR}/coupons/disassociate`, { ...order, out_request_no: 'pay-disassociate-1' });
await asked('POST', `${BUSIFAVOR}/coupons/use`, { ...order, appid, use_time, use_request_no: 'pay-use-1', mch_id: mchid });
const subsidy = {
  ...coupon, transaction_id: '4200000913202101152566792388', payer_merchant: mchid, payee_merchant: mchid,
  amount: 100, description: '20210115DESCRIPTION',
};
const receipts = `${BUSIFAVOR}/subsidy/pay-receipts`, returns = `${BUSIFAVOR}/subsidy/return-receipts`;
const { subsidy_receipt_id } = await asked('POST', receipts, { ...subsidy, out_subsidy_no: 'pay-subsidy-1' });
await asked('GET', `${receipts}${query(coupon)}`);
await asked('GET', `${receipts}/${subsidy_receipt_id}`);
const { subsidy_return_receipt_id } = await asked('POST', returns,
  { ...subsidy, refund_id: '50000000382019052709732678859', out_subsidy_return_no: 'pay-subsidy-return-1' });
await asked('GET', `${returns}/${subsidy_return_receipt_id}`);
await asked('POST', `${BUSIFAVOR}/coupons/return`, { ...coupon, return_request_no: 'pay-return-1' });
await asked('POST', `${BUSIFAVOR}/coupons/deactivate`, { ...coupon, deactivate_request_no: 'pay-deactivate-1' });

// What stands beside: a consumption card, coupons with product information, and 商品券.
await asked('POST', `${BUSIFAVOR}/coupons/pIJMr5MMiIkO_93VtPyIiEk2DZ4w/send`,
  { appid, openid, out_request_no: 'pay-card-1', send_time: use_time });
await asked('POST', `${BUSIFAVOR}/product-coupons/pre-send`, { stock_id, appid, send_request_no: 'pay-pre-send-1' });
await asked('POST', `${BUSIFAVOR}/product-coupons/send`,
  { stock_id, openid, appid, out_request_no: 'pay-product-send-1', coupon_type: 'NORMAL' });
const { product_coupon_id, brand_id } = product;
const products = `/v3/marketing/partner/product-coupon/product-coupons/${product_coupon_id}/stocks/${product.stock_id}`;
await asked('POST', `${products}/upload-coupon-codes`,
  { code_list: ['PAY-1', 'PAY-2'], out_request_no: 'pay-product-upload-1', brand_id });
await asked('GET', `${products}${query({ brand_id })}`);

// What no other platform has: how the events of these coupons were delivered, and one of them again.
await asked('GET', `/v3/quanma/stocks${query({ limit: 20 })}`);
const { data: [{ id }] } = await asked('GET', `/v3/quanma/events${query({ limit: 20 })}`);
await asked('POST', `/v3/quanma/events/${id}/resend`, {});
