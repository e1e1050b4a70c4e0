const grpc = require('@grpc/grpc-js');
const [addr, tls] = process.argv.slice(2);
const creds = tls ? grpc.credentials.createSsl(require('fs').readFileSync(tls)) : grpc.credentials.createInsecure();
const id = x => x;
const svc = '/inference.GRPCInferenceService/';
const client = new grpc.Client(addr, creds, {'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1});
// A ModelInferRequest by hand: model_name=1, inputs=5 {name=1 datatype=2 shape=3}, raw_input_contents=7
const len = b => { const o=[]; let n=b.length; while(n>127){o.push(n&127|128); n=Math.floor(n/128);} o.push(n); return Buffer.from(o); };
const field = (n, b) => Buffer.concat([Buffer.from([n<<3|2]), len(b), b]);
const infer = (model, floats) => { const raw = Buffer.alloc(4*floats.length); floats.forEach((f,i)=>raw.writeFloatLE(f,4*i));
  const shape=[1]; let n=floats.length; const v=[]; while(n>127){v.push(n&127|128); n=Math.floor(n/128);} v.push(n);
  const input = Buffer.concat([field(1,Buffer.from('x')), field(2,Buffer.from('FP32')), field(3, Buffer.from([1,...v]))]);
  return Buffer.concat([field(1,Buffer.from(model)), field(5,input), field(7,raw)]); };
const unary = (method, msg) => new Promise((ok, no) => client.makeUnaryRequest(svc+method, id, id, msg, (e, r) => e ? no(e) : ok(r)));
(async () => {
  const out = {};
  out.live = (await unary('ServerLive', Buffer.alloc(0))).toString('hex');
  const model = process.argv[4] || 'mlp';
  const row = Array(64).fill(0.5);
  out.answers = new Set((await Promise.all(Array.from({length: 50}, () => unary('ModelInfer', infer(model, row))))).map(b => b.toString('hex'))).size;
  try { await unary('ModelInfer', infer('nothing', row)); } catch (e) { out.code = e.code; out.details = e.details; }
  try { await unary('Nothing', Buffer.alloc(0)); } catch (e) { out.unknown = e.code; }
  const s = client.makeBidiStreamRequest(svc+'ModelStreamInfer', id, id);
  let got = 0; s.on('data', () => { if (++got == 300) s.end(); });
  const ended = new Promise((ok, no) => { s.on('status', x => ok(x.code)); s.on('error', no); });
  for (let i=0;i<300;i++) s.write(infer(model, row));
  out.stream = await ended; out.got = got;
  const c = client.makeBidiStreamRequest(svc+'ModelStreamInfer', id, id);
  c.on('error', e => { out.cancelled = e.code; console.log(JSON.stringify(out)); client.close(); });
  c.write(infer(model, row)); setTimeout(() => c.cancel(), 50);
})().catch(e => { console.error(e); process.exit(1); });
