// What pages do better with JavaScript: the menu, character counts, the focus on what is wrong.
import { initAll } from './govuk-frontend-6.6.0.min.js';

document.body.classList.add('js-enabled', 'govuk-frontend-supported');
initAll();
// Signing out goes on at the sign-in service.
document.querySelector('form[data-app-send]')?.requestSubmit();
// Something is on its way: look again, as long as the page is there.
if (document.querySelector('[data-app-reload]')) setTimeout(() => window.location.reload(), 3000);
// A page that the browser had kept may be one of somebody who has signed out.
window.addEventListener('pageshow', (event) => { if (event.persisted) window.location.reload(); });
// A session ends when nothing is done for a while. Writing is doing something, and whoever only reads is asked before.
const idleMs = Number(document.body.dataset.appIdle ?? 0) * 1000;
if (idleMs > 0) {
  const box = document.querySelector('[data-app-ending]');
  const [soon, over] = box.querySelectorAll('p');
  const stay = box.querySelector('button');
  const warnMs = Math.min(120_000, idleMs / 2);
  let heard = Date.now();
  let timer;
  // What is done in one window is done for the session, which all of them have.
  const others = new BroadcastChannel('concordat-here');
  const show = (what) => {
    for (const one of [soon, over]) one.hidden = one !== what;
    stay.hidden = what !== soon;
    box.classList.toggle('app-ending--shown', Boolean(what));
  };
  const wait = () => {
    clearTimeout(timer);
    const left = heard + idleMs - Date.now();
    timer = left > warnMs ? setTimeout(wait, left - warnMs) : setTimeout(() => show(over), Math.max(0, left));
    show(left > warnMs ? undefined : soon);
  };
  const here = async () => {
    const answer = await fetch('/still-here', { cache: 'no-store' }).catch(() => undefined);
    if (answer?.status === 204) { heard = Date.now(); others.postMessage(''); wait(); } else if (answer?.status === 401) { clearTimeout(timer); show(over); }
  };
  stay.addEventListener('click', here);
  others.addEventListener('message', () => { heard = Date.now(); wait(); });
  // This page was loaded just now.
  others.postMessage('');
  let told = heard;
  document.addEventListener('input', () => { if (Date.now() - told > 60_000) { told = Date.now(); here(); } });
  wait();
}
