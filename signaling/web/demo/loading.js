// A page of which a script did not come, as when the network changes just then, stays
// empty. So it is loaded again, a few times; then it says so. This is no module: it is there
// before those that it watches.

'use strict'
{
  const MOST = 4
  const say = () => { document.getElementById('unloaded').hidden = false }

  addEventListener('error', (e) => {
    if (!(e.target instanceof HTMLScriptElement)) return // something that a script did
    const loads = history.state?.loads ?? 0
    if (loads === MOST) {
      if (document.readyState === 'loading') addEventListener('DOMContentLoaded', say)
      else say()
      return
    }
    history.replaceState({ loads: loads + 1 }, '')
    setTimeout(() => location.reload(), 250 * 2 ** loads)
  }, true)

  addEventListener('load', () => {
    if ('switchboard' in window) history.replaceState(null, '')
  })
}
