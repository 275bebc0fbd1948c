// For the benchmark of clients: so many uploads, so many in flight. Prints what they took, once it was warm.
import { config, tell, wxpay } from './client.mjs';

const { stock_id, codes, in_flight } = config;
const { couponcodes } = wxpay.v3.marketing.busifavor.stocks._stock_id_;
let number = 0;

async function callUntil(end) {
  while (number < end) {
    number += 1;
    const body = { coupon_code_list: codes, upload_request_no: String(number) };
    const { data } = await couponcodes.post(body, { stock_id });
    if (data.success_count !== codes.length) throw new Error(`not all codes: ${data.success_count}`);
  }
}

const call = (end) => Promise.all(Array.from({ length: in_flight }, () => callUntil(end)));

await call(50);
const began = process.hrtime.bigint();
const beganCpu = process.cpuUsage();
await call(50 + config.calls);
const { user, system } = process.cpuUsage(beganCpu);
tell('called', { seconds: Number(process.hrtime.bigint() - began) / 1e9, cpu_seconds: (user + system) / 1e6 });
