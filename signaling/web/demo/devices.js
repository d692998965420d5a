// The phones with one's number: their names, and the end of those that are lost.

import { listDevices, nameDevice, removeDevice } from './switchboard.js'
import { $, ask, h, toast } from './dom.js'
import { errorWords } from './words.js'

/** @typedef {import('./switchboard.js').DeviceInfo} DeviceInfo */

/** The list in the settings. */
export class Devices {
  #token

  /** @param {() => string} token of this device */
  constructor(token) { this.#token = token }

  /** Asks for the list and shows it. */
  async render() {
    try {
      const all = await listDevices({ token: this.#token() })
      $('devices').replaceChildren(...all.map((d) => this.#row(d)))
    } catch (e) {
      $('devices').replaceChildren(h('li', {}, errorWords(e)))
    }
  }

  /** @param {DeviceInfo} d */
  #row(d) {
    const name = d.name || `Phone ${d.device}`
    return h('li', { 'data-device': d.device },
      h('span', {}, name, h('small', {}, what(d))),
      h('button', { class: 'link', type: 'button', 'aria-label': `Rename ${name}`, onclick: () => this.#rename(d) }, 'Rename'),
      !d.this && h('button', { class: 'link danger', type: 'button', 'aria-label': `Remove ${name}`, onclick: () => this.#remove(d, name) }, 'Remove'))
  }

  /** @param {DeviceInfo} d */
  async #rename(d) {
    const name = await ask({ title: 'Name of this phone', label: 'Name', ok: 'Save', value: d.name })
    if (name) await this.#change(nameDevice({ token: this.#token(), device: d.device, name }))
  }

  /** @param {DeviceInfo} d @param {string} name */
  async #remove(d, name) {
    if (window.confirm(`Remove ${name}? It is signed off at once.`)) await this.#change(removeDevice({ token: this.#token(), device: d.device }))
  }

  /** @param {Promise<unknown>} done */
  async #change(done) {
    try {
      await done
    } catch (e) {
      toast(errorWords(e), { bad: true })
    }
    await this.render()
  }
}

/** @param {DeviceInfo} d */
function what(d) {
  if (d.this) return 'This one'
  if (d.online) return 'Connected'
  return `Registered ${new Date(d.created).toLocaleDateString()}`
}
