/** The flags that tests start Chromium with. */
export declare const FLAGS: string[];
