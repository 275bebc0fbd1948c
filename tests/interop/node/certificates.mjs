// Fetch the platform's certificates and open them with the APIv3 key. Prints each serial and certificate.
import { Aes } from 'wechatpay-axios-plugin';
import { config, tell, wxpay } from './client.mjs';

const { data: { data: sealed } } = await wxpay.v3.certificates.get();
for (const { serial_no, encrypt_certificate: { nonce, associated_data, ciphertext } } of sealed) {
  const pem = Aes.AesGcm.decrypt(ciphertext, config.apiv3_key, nonce, associated_data);
  tell('certificate', { serial_no, pem });
}
