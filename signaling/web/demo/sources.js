// Which microphone, camera and speaker are used.

import { $, h, toast } from './dom.js'
import { errorWords } from './words.js'
import { listMedia } from './switchboard.js'

/** @typedef {import('./switchboard.js').Client} Client */
/** @typedef {import('./switchboard.js').Source} Source */

export class SourcesView {
  #client

  /** @param {() => Client} client */
  constructor(client) {
    this.#client = client
    for (const [id, what] of /** @type {const} */ ([['microphone', 'microphone'], ['camera-choice', 'camera'], ['speaker', 'speaker']])) {
      $(id).onchange = () => this.#choose({ [what]: $(id).value })
    }
  }

  async render() {
    const { microphones, cameras, speakers } = await listMedia()
    const chosen = this.#client().chosen
    fill($('microphone'), microphones, chosen.microphone)
    fill($('camera-choice'), cameras, chosen.camera)
    fill($('speaker'), speakers, chosen.speaker)
  }

  /** @param {Record<string, string>} change */
  async #choose(change) {
    try {
      await this.#client().choose(change)
    } catch (e) {
      toast(errorWords(e), { bad: true })
    }
  }

  /** Plays a call on the speaker that was chosen, where the browser can. @param {HTMLMediaElement} element */
  play(element) {
    const sink = /** @type {any} */ (element)
    if (sink.setSinkId && sink.sinkId !== this.#client().chosen.speaker) sink.setSinkId(this.#client().chosen.speaker).catch(() => {})
  }
}

/** @param {HTMLSelectElement} select @param {Source[]} sources @param {string} chosen */
function fill(select, sources, chosen) {
  const option = (/** @type {string} */ id, /** @type {string} */ label) => {
    const o = h('option')
    o.value = id
    o.textContent = label
    return o
  }
  select.replaceChildren(option('', 'The usual one'), ...sources.map((s) => option(s.id, s.label)))
  select.value = sources.some((s) => s.id === chosen) ? chosen : ''
  select.disabled = sources.length === 0
}
