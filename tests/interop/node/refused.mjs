// Upload one code, and print why the answer, or the request, was refused.
import { config, tell, wxpay } from './client.mjs';

const upload = { coupon_code_list: config.codes, upload_request_no: 'node-refused-1' };
try {
  const { data } = await wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes.post(
    upload, { stock_id: config.stock_id });
  tell('accepted', data);
} catch ({ code, message, response }) {
  tell('refused', { code, message, status: response?.status, body: response?.data });
}
