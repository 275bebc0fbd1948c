// A merchant's whole way with its codes: upload, list, look, delete, give out, redeem. Prints each answer.
import { config, tell, wxpay } from './client.mjs';

const { stock_id, codes, openid, appid } = config;
const { busifavor } = wxpay.v3.marketing;
const couponcodes = busifavor.stocks._stock_id_.couponcodes;

const { data: uploaded } = await couponcodes.post(
  { coupon_code_list: codes, upload_request_no: 'node-upload-1' }, { stock_id });
tell('uploaded', uploaded);

const { data: stock } = await busifavor.stocks._stock_id_.get({ stock_id });
tell('stock', stock);

const { data: page } = await couponcodes.get({ stock_id, params: { limit: 100, offset: 0 } });
tell('page', page);

// The plugin puts a path variable in as it stands, so a slash has to be escaped by its user.
for (const code of codes) {
  const { data } = await couponcodes._coupon_code_.get({ stock_id, coupon_code: encodeURIComponent(code) });
  tell('shown', data);
}

for (const code of config.deleted) {
  const { data } = await couponcodes._coupon_code_.delete(
    { stock_id, coupon_code: encodeURIComponent(code), params: { delete_request_no: `delete ${code}` } });
  tell('deleted', data);
}

const { data: sent } = await busifavor.coupons.send.post(
  { stock_id, openid, appid, out_request_no: 'node-send-1' });
tell('sent', sent);

const { coupon_code } = sent.send_coupon_result;
const mine = { openid, appid, coupon_code: encodeURIComponent(coupon_code) };
const userCoupon = busifavor.users._openid_.coupons['{coupon_code}'].appids._appid_;
tell('coupon', (await userCoupon.get(mine)).data);

const { data: used } = await busifavor.coupons.use.post({
  stock_id, appid, coupon_code, use_time: config.use_time, use_request_no: 'node-use-1',
});
tell('used', used);
tell('coupon', (await userCoupon.get(mine)).data);
