// The whole life of coupons, every operation by its path. Prints what was asked for, and each answer.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Multipart } from 'wechatpay-axios-plugin';
import { config, tell, wxpay } from './client.mjs';

const { appid, codes, mchid, notify_url, openid, product, stock, use_time } = config;
const { v3 } = wxpay;
const { busifavor } = v3.marketing;

/** Wait for an answer, print it with the request that was really sent, and return its data. */
async function asked(request) {
  const { data, status, request: { method, path } } = await request;
  tell('answered', { method, path, status, data });
  return data;
}

// A signed round trip, the platform's certificates, a picture for the coupon.
await asked(v3.security.echo.post({ echo_message: '券' }));
await asked(v3.certificates.get());
const picture = readFileSync(config.picture);
const form = new Multipart();
const sha256 = createHash('sha256').update(picture).digest('hex');
form.append('meta', JSON.stringify({ filename: 'logo.png', sha256 }), 'meta.json');
form.append('file', picture, 'logo.png');
await asked(v3.marketing.favor.media.imageUpload.post(form.getBuffer(), { meta: form.toJSON(), headers: form.getHeaders() }));

// Where events go, then a stock with its rules, changed before anyone has a coupon.
await asked(busifavor.callbacks.post({ mchid, notify_url }));
await asked(busifavor.callbacks.get({ params: { mchid } }));
const { stock_id } = await asked(busifavor.stocks.post(stock));
await asked(busifavor.stocks._stock_id_.patch({ out_request_no: 'node-modify-1', comment: '活动使用' }, { stock_id }));
await asked(busifavor.stocks._stock_id_.budget.patch(
  { modify_budget_request_no: 'node-budget-1', current_max_coupons: 100, target_max_coupons: 200 }, { stock_id }));
await asked(busifavor.stocks._stock_id_.get({ stock_id }));

// Codes in, looked at, one out.
const { couponcodes } = busifavor.stocks._stock_id_;
await asked(couponcodes.post({ coupon_code_list: codes, upload_request_no: 'node-upload-1' }, { stock_id }));
await asked(couponcodes.get({ stock_id, params: { limit: 100, offset: 0 } }));
// The plugin puts a path variable in as it stands, so a slash has to be escaped by its user.
const code = encodeURIComponent('/');
await asked(couponcodes._coupon_code_.get({ stock_id, coupon_code: code }));
await asked(couponcodes._coupon_code_.delete({ stock_id, coupon_code: code, params: { delete_request_no: 'node-1' } }));

// To a user, tied to an order and untied, used, subsidised, given back, and at last made worthless.
const { coupons } = busifavor;
const { send_coupon_result: { coupon_code } } = await asked(
  coupons.send.post({ stock_id, openid, appid, out_request_no: 'node-send-1' }));
const mine = { openid, appid, coupon_code: encodeURIComponent(coupon_code) };
await asked(busifavor.users._openid_.coupons.get(
  { openid, params: { appid, stock_id, creator_merchant: mchid, limit: 20, offset: 0 } }));
await asked(busifavor.users._openid_.coupons['{coupon_code}'].appids._appid_.get(mine));
const coupon = { stock_id, coupon_code };
const order = { ...coupon, out_trade_no: 'MCH_102233445' };
await asked(coupons.associate.post({ ...order, out_request_no: 'node-associate-1' }));
await asked(coupons.disassociate.post({ ...order, out_request_no: 'node-disassociate-1' }));
await asked(coupons.use.post({ ...coupon, appid, use_time, use_request_no: 'node-use-1' }));
const subsidy = {
  ...coupon, transaction_id: '4200000913202101152566792388', payer_merchant: mchid, payee_merchant: mchid,
  amount: 100, description: '20210115DESCRIPTION',
};
const { payReceipts, returnReceipts } = busifavor.subsidy;
const { subsidy_receipt_id } = await asked(payReceipts.post({ ...subsidy, out_subsidy_no: 'node-subsidy-1' }));
await asked(payReceipts.get({ params: coupon }));
await asked(payReceipts._subsidy_receipt_id_.get({ subsidy_receipt_id }));
const { subsidy_return_receipt_id } = await asked(returnReceipts.post(
  { ...subsidy, refund_id: '50000000382019052709732678859', out_subsidy_return_no: 'node-subsidy-return-1' }));
await asked(returnReceipts._subsidy_return_receipt_id_.get({ subsidy_return_receipt_id }));
await asked(coupons.return.post({ ...coupon, return_request_no: 'node-return-1' }));
await asked(coupons.deactivate.post({ ...coupon, deactivate_request_no: 'node-deactivate-1' }));

// What stands beside: a consumption card, coupons with product information, and 商品券.
await asked(coupons._card_id_.send.post(
  { appid, openid, out_request_no: 'node-card-1', send_time: use_time }, { card_id: 'pIJMr5MMiIkO_93VtPyIiEk2DZ4w' }));
await asked(busifavor.productCoupons.preSend.post({ stock_id, appid, send_request_no: 'node-pre-send-1' }));
await asked(busifavor.productCoupons.send.post(
  { stock_id, openid, appid, out_request_no: 'node-product-send-1', coupon_type: 'NORMAL' }));
const { product_coupon_id, brand_id } = product;
const products = v3.marketing.partner.productCoupon.productCoupons._product_coupon_id_.stocks._stock_id_;
await asked(products.uploadCouponCodes.post(
  { code_list: ['NODE-1', 'NODE-2'], out_request_no: 'node-product-upload-1', brand_id },
  { product_coupon_id, stock_id: product.stock_id }));
await asked(products.get({ product_coupon_id, stock_id: product.stock_id, params: { brand_id } }));

// What no other platform has: how the events of these coupons were delivered, and one of them again.
await asked(v3.quanma.stocks.get({ params: { limit: 20 } }));
const { data: [{ id }] } = await asked(v3.quanma.events.get({ params: { limit: 20 } }));
await asked(v3.quanma.events._id_.resend.post({}, { id }));
