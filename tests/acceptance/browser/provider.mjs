// An OpenID provider that is not ours: oidc-provider, as a process of its own, over TLS.
//
//   node provider.mjs MODULES FOLDER CONSOLE_URL NOW_MS
//
// It says `ready PORT` once it listens. Its clock begins at NOW_MS, as the test's does, and `advance SECONDS`, written to it,
// moves it. It ends when its input does. Accounts are made as they are asked for: `ROLE[+ROLE].ORGANISATION.ID`.
import { execFileSync } from 'node:child_process';
import { createPrivateKey, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [modules, folder, consoleUrl, nowMs] = process.argv.slice(2);
const real = Date.now;
let ahead = Number(nowMs) - real();
Date.now = () => real() + ahead;
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));
const file = (name) => readFileSync(`${folder}/${name}`, 'utf8');

// Not by node: its key generation can wait for itself for ever, when the collector runs while a key is exported.
const pem = execFileSync('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']);
const key = {
  ...createPrivateKey(pem).export({ format: 'jwk' }),
  kid: randomUUID(), alg: 'ES256', use: 'sig',
};

/** Of residents whose identity was checked. */
const NUMBERS = { 'resident-1': '9732110317', 'resident-2': '9736363023', 'resident-4': '9732110317' };
/** Of somebody whose identity was not: the number is what they said. */
const UNCHECKED = ['resident-4'];

const provider = (issuer) => new Provider(issuer, {
  jwks: { keys: [key] },
  clients: [{
    client_id: 'concordat-console',
    client_secret: file('console-client.secret').trim(),
    grant_types: ['authorization_code'],
    response_types: ['code'],
    redirect_uris: [`${consoleUrl}/signed-in`],
    post_logout_redirect_uris: [`${consoleUrl}/signed-out`],
    id_token_signed_response_alg: 'ES256',
    token_endpoint_auth_method: 'client_secret_basic',
  }],
  pkce: { required: () => true },
  conformIdTokenClaims: false,
  claims: { openid: ['sub', 'name', 'organisation', 'roles', 'nhs_number', 'identity_proofing_level'], profile: [] },
  cookies: { keys: ['for a test'] },
  features: {
    devInteractions: { enabled: true },
    // Without the style that the package fetches from elsewhere, for which a browser without a network waits.
    rpInitiatedLogout: {
      enabled: true,
      logoutSource(ctx, form) { ctx.body = `<!DOCTYPE html><title>Sign out</title>${form}<button type="submit" form="op.logoutForm" value="yes" name="logout">Yes</button>`; },
    },
  },
  // Nobody is asked whether the console may know who they are: it is their employer's.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid profile');
    await grant.save();
    return grant;
  },
  findAccount: (ctx, login) => ({
    accountId: login,
    claims: () => {
      const [roles, organisation, id] = login.split('.');
      const number = NUMBERS[id];
      return {
        sub: id, name: `${id} <script>window.broken = 1</script>`, organisation, roles: roles.split('+'),
        ...(number ? { nhs_number: number, identity_proofing_level: UNCHECKED.includes(id) ? 'P5' : 'P9' } : {}),
      };
    },
  }),
});

let current;
const server = createServer({ cert: file('nhs-server.pem'), key: file('nhs-server.key') },
  (request, response) => {
    // The browser goes by another clock, for which these would be over.
    const set = response.setHeader.bind(response);
    const lasting = (cookie) => String(cookie).replace(/; expires=[^;]*/i, '');
    response.setHeader = (name, value) => set(name, /^set-cookie$/i.test(name) ? [value].flat().map(lasting) : value);
    current(request, response);
  });
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  current = provider(`https://localhost:${port}`).callback();
  createInterface({ input: process.stdin }).on('line', (line) => {
    ahead += Number(line.replace('advance ', '')) * 1000;
    console.log('changed');
  }).on('close', () => process.exit(0));
  console.log(`ready ${port}`);
});
