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
