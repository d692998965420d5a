// Texts and calls while the page is closed: the browser is woken by Web Push, and
// worker.js shows what for.

import { $, toast } from './dom.js'
import { errorWords } from './words.js'

/** The page's policy lets no script be named but in this way. @type {any} */
const script = window.trustedTypes?.createPolicy('worker', { createScriptURL: () => '/worker.js' }).createScriptURL('') || '/worker.js'

/** The switch in the settings, and what it stands for. */
export class Waking {
  /** @type {() => import('./switchboard.js').Client} */ #client
  #key
  #scope

  /**
   * @param {() => import('./switchboard.js').Client} client
   * @param {string} profile
   * @param {string} phoneName
   */
  constructor(client, profile, phoneName) {
    this.#client = client
    this.#key = `${profile}.wake`
    this.#scope = phoneName ? `/?phone=${phoneName}` : '/'
    $('wake').onchange = () => this.#change($('wake').checked)
    document.addEventListener('visibilitychange', () => this.#tidy())
  }

  get #on() { return localStorage.getItem(this.#key) === '1' }

  /** Shows whether it is on, and whether it can be. */
  render() {
    const can = 'serviceWorker' in navigator && 'PushManager' in window && Boolean(this.#client().welcome?.push?.vapid)
    $('wake').disabled = !can
    $('wake').checked = can && this.#on
  }

  /** Tells a new session what it has to know. */
  async connected() {
    this.#tidy()
    if (!this.#on || this.#client().welcome?.resumed === 'full') return
    try {
      await this.#client().enablePush(await this.#worker())
    } catch (e) {
      console.warn('switchboard: cannot be woken:', e)
    }
  }

  /** This browser is nobody's phone any more. */
  async forget() {
    localStorage.removeItem(this.#key)
    const worker = await navigator.serviceWorker?.getRegistration(this.#scope)
    await worker?.unregister() // and with it its subscription
  }

  /** @param {boolean} on */
  async #change(on) {
    try {
      const worker = await this.#worker()
      if (on) await this.#client().enablePush(worker)
      else await this.#client().disablePush(worker)
      localStorage.setItem(this.#key, on ? '1' : '')
    } catch (e) {
      toast(errorWords(e), { bad: true })
    }
    this.render()
  }

  async #worker() {
    const worker = await navigator.serviceWorker.register(script, { scope: this.#scope, updateViaCache: 'none' })
    const coming = worker.installing || worker.waiting
    if (!worker.active && coming) await new Promise((done) => coming.addEventListener('statechange', () => worker.active && done(null)))
    return worker
  }

  /** What the page shows needs no notification. */
  async #tidy() {
    if (document.hidden) return
    const worker = await navigator.serviceWorker?.getRegistration(this.#scope)
    for (const n of await worker?.getNotifications() || []) n.close()
  }
}
