// What a phone does while its page is closed. A push says that a text waits or that
// a call rings, and no more than that; the page, once it is open, has the rest.
// Each phone of a browser has a worker of its own, whose scope is the phone's address.

const scope = new URL(self.registration.scope)

/** Whether a window shows this phone. @param {WindowClient} w */
function mine(w) {
  const url = new URL(w.url)
  return ['/', '/index.html'].includes(url.pathname) && (url.searchParams.get('phone') || '') === (scope.searchParams.get('phone') || '')
}

const windows = async () => (await self.clients.matchAll({ type: 'window', includeUncontrolled: true })).filter(mine)

/** @param {string} title @param {string} tag @param {object} more */
const show = (title, tag, more) => self.registration.showNotification(title, { tag, icon: '/icon.svg', badge: '/icon.svg', ...more })

/** @param {{reason: string, call?: string, expires: number}} told */
async function woken(told) {
  if ((await windows()).some((w) => w.visibilityState === 'visible')) return // it rings by itself
  if (told.reason === 'message') return show('New text', 'text', { body: 'Open Switchboard to read it.', renotify: true, data: '#chats' })
  if (told.reason === 'ring' && told.expires > Date.now()) return ring(`call ${told.call}`, told.expires)
  if (told.reason === 'stop') return stop(`call ${told.call}`)
}

/** Rings until the call is over, or would be. @param {string} tag @param {number} until */
async function ring(tag, until) {
  await show('Incoming call', tag, { body: 'Open Switchboard to answer.', renotify: true, requireInteraction: true, vibrate: [400, 200, 400, 200, 400], data: '#keypad' })
  await new Promise((done) => setTimeout(done, until - Date.now()))
  await stop(tag)
}

/** @param {string} tag */
async function stop(tag) {
  const there = await self.registration.getNotifications({ tag })
  if (there.some((n) => n.requireInteraction)) await show('A call is over', tag, { body: 'Open Switchboard to see whose it was.', silent: true, data: '#recents' })
}

/** Shows the phone, at the place that the notification is about. @param {string} place */
async function open(place) {
  const [there] = await windows()
  if (!there) return self.clients.openWindow(scope.pathname + scope.search + place)
  await there.focus()
}

self.addEventListener('install', () => self.skipWaiting())
self.addEventListener('push', (e) => e.waitUntil(woken(e.data?.json() || {})))
self.addEventListener('notificationclick', (e) => {
  e.notification.close()
  e.waitUntil(open(e.notification.data || ''))
})
