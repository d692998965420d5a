// Who a number is: the name one gave it, and a face made of it.

import { h } from './dom.js'
import { pretty } from './countries.js'

/** Names for numbers, kept in this browser alone. */
export class People {
  #key
  /** @type {Record<string, string>} */
  #names

  /** @param {string} profile */
  constructor(profile) {
    this.#key = `${profile}.names`
    try {
      this.#names = JSON.parse(localStorage.getItem(this.#key) || '{}')
    } catch {
      this.#names = {}
    }
  }

  /** @param {string} number @returns {string} the name, or the number as one writes it */
  name(number) { return this.#names[number] || pretty(number) }

  /** @param {string} number */
  known(number) { return Boolean(this.#names[number]) }

  /** @param {string} number @param {string} name empty forgets it */
  rename(number, name) {
    if (name) this.#names[number] = name
    else delete this.#names[number]
    try { localStorage.setItem(this.#key, JSON.stringify(this.#names)) } catch { /* only a name */ }
  }

  /** @param {string} number @returns {HTMLElement} */
  avatar(number) {
    const name = this.#names[number]
    const letters = name ? name.split(/\s+/).map((w) => [...w][0] || '').slice(0, 2).join('').toUpperCase() : number.slice(-2)
    return h('span', { class: `avatar hue-${hueOf(number)}`, 'aria-hidden': 'true' }, letters)
  }
}

/** @param {string} number */
function hueOf(number) {
  let x = 7
  for (const c of number) x = (x * 31 + c.charCodeAt(0)) >>> 0
  return x % 10
}
