// An authorization server that is not ours: oidc-provider, as a process of its own, over TLS with client certificates.
//
//   node issuer.mjs MODULES FOLDER AUDIENCE CLIENT_ID PARTNER
//
// It says `ready PORT` once it listens, and changes its signing key when a line is written to it: `overlap` signs with a new
// key and still publishes the old one, `replace` publishes the new one alone. It ends when its input does.
import { execFileSync } from 'node:child_process';
import { createPrivateKey, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [modules, folder, audience, clientId, partner] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));
const file = (name) => readFileSync(`${folder}/${name}`, 'utf8');

const type = 'https://concordat.example/authorization/person-disclosure';

// Not by node: its key generation can wait for itself for ever, when the collector runs while a key is exported.
const newPem = () => execFileSync('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']);
const newKey = () => ({
  ...createPrivateKey(newPem()).export({ format: 'jwk' }),
  kid: randomUUID(), alg: 'ES256', use: 'sig',
});

const provider = (issuer, keys) => new Provider(issuer, {
  jwks: { keys },
  clients: [{
    client_id: clientId,
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    id_token_signed_response_alg: 'ES256',
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'EdDSA',
    tls_client_certificate_bound_access_tokens: true,
    authorization_details_types: [type],
    jwks: JSON.parse(file(`${partner}-token.jwks.json`)),
  }],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
    },
    // What it grants is what was asked for (RFC 9396).
    richAuthorizationRequests: {
      enabled: true,
      types: { [type]: { validate: () => {} } },
      authorizationDetailsForGrantSource: (ctx, source) => source.rar,
      authorizationDetailsForAccessToken: (ctx) => JSON.parse(ctx.oidc.params.authorization_details),
      authorizationDetailsForIntrospection: (ctx, token) => token.rar,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: () => ({
        audience,
        scope: '',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});

let keys = [newKey()];
let current;
const server = createServer({
  cert: file('nhs-server.pem'),
  key: file('nhs-server.key'),
  ca: file('ca.pem'),
  requestCert: true,
  rejectUnauthorized: false, // whoever fetches the keys shows none
}, (request, response) => current(request, response));

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const issuer = `https://localhost:${port}`;
  const renew = () => { current = provider(issuer, keys).callback(); };
  renew();
  createInterface({ input: process.stdin }).on('line', (line) => {
    keys = line === 'overlap' ? [newKey(), ...keys] : [newKey()];
    renew();
    console.log(`changed ${keys[0].kid}`);
  }).on('close', () => process.exit(0));
  console.log(`ready ${port}`);
});
