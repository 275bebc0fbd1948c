// A test of an integration in Node, without an SDK: the sandbox signs. Run it while `quanma sandbox` runs:
//
//     SANDBOX_URL=http://127.0.0.1:8460 node examples/sandbox.mjs
//
// The answer to the first send is lost after the coupon was given out. The same number again gives the same coupon.

import assert from "node:assert/strict";

const url = process.env.SANDBOX_URL ?? "http://127.0.0.1:8460";
const { merchants: [mchid] } = await control("GET", "/");

async function control(method, path, body) {
  const answer = await fetch(`${url}/_sandbox${path}`, asJson(method, body));
  assert.ok(answer.ok, await answer.clone().text());
  return answer.json();
}

async function pay(method, path, body) {
  const answer = await fetch(`${url}/_sandbox/as/${mchid}/v3/marketing/busifavor${path}`, asJson(method, body));
  return { status: answer.status, ...(await answer.json()) };
}

function asJson(method, body) {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return { method, body: text, headers: { "Content-Type": "application/json" } };
}

const day = (days) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 19) + "+00:00";
const { stock_id } = await pay("POST", "/stocks", {
  stock_name: "sandbox", belong_merchant: mchid, goods_name: "coffee", stock_type: "NORMAL",
  coupon_use_rule: {
    coupon_available_time: { available_begin_time: day(-1), available_end_time: day(30) },
    fixed_normal_coupon: { discount_amount: 100, transaction_minimum: 1000 }, use_method: "OFF_LINE",
  },
  stock_send_rule: { max_coupons: 100, max_coupons_per_user: 1 },
  out_request_no: `stock-${Date.now()}`, coupon_code_mode: "MERCHANT_UPLOAD",
});
await pay("POST", `/stocks/${stock_id}/couponcodes`, { coupon_code_list: ["A1", "B2"], upload_request_no: "upload-1" });

const order = { stock_id, openid: "o-user", appid: "wx0000000000000001", out_request_no: "order-1" };
const rule = { when: { operation: "coupons.send.post", first: 1 }, do: { status: 500, executed: true } };
await control("POST", "/faults", rule);

const lost = await pay("POST", "/coupons/send", order);
assert.equal(lost.status, 500);
const again = await pay("POST", "/coupons/send", order);
assert.equal(again.status, 200);
const stock = await pay("GET", `/stocks/${stock_id}`);
assert.equal(stock.send_count_information.total_send_num, 1);
console.log("one coupon");
